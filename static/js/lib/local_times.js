/* Puts the server's UTC times into the visitor's zone. */

import { when } from "./format.js";

export function localTimes(root = document) {
  for (const element of root.querySelectorAll("time[data-ms]")) element.textContent = when(Number(element.dataset.ms));
}
