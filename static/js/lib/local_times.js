/* Times: relative in text, absolute in the title, in the visitor's time zone. */

import { absolute, relative } from "./format.js";

/** Update the times below `root`. Those with data-absolute have the absolute time as text. */
export function localTimes(root = document) {
  const now = Date.now();
  for (const element of root.querySelectorAll("time[data-ms]")) {
    const ms = Number(element.dataset.ms);
    element.title = absolute(ms);
    const text = "absolute" in element.dataset ? absolute(ms) : relative(now - ms);
    if (element.textContent !== text) element.textContent = text;
  }
}

setInterval(localTimes, 5000);
