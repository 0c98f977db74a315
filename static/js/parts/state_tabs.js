/* The counts on the tabs, and the status of live updates. */

import { count } from "../lib/format.js";

/** Show the number of jobs per state in every element with data-count. */
export function showCounts(counts) {
  for (const element of document.querySelectorAll("[data-count]")) {
    const text = count(counts[element.dataset.count] || 0);
    if (element.textContent !== text) element.textContent = text;
    element.toggleAttribute("data-zero", !counts[element.dataset.count]);
  }
}

const WORDS = { live: "Live", "catching up": "Catching up", stale: "Offline" };

/** Show `live`, `catching up` or `stale`, and why. */
export function showStatus(state, why) {
  const sign = document.getElementById("live_status");
  if (!sign) return;
  sign.dataset.live = state;
  sign.querySelector("[data-part=word]").textContent = WORDS[state];
  sign.querySelector("[data-part=why]").textContent = why;
  document.body.dataset.live = state;
}
