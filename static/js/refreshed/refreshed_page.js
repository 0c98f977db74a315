/* A page with a part that is reloaded every few seconds, and buttons that act on their row. */

import { sayIn } from "../parts/job_actions.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { Live } from "../live/live_updates.js";
import { fetchPart, replaceContent } from "./partial_refresh.js";
import { localTimes } from "../lib/local_times.js";

const POLL_MS = 3000;

/**
 * Keep `box` up to date from `url`. A click on a button with `data-action` calls `actions[action](name)`, where `name` is
 * the row's `data-KIND`. The action returns a message. Returns `{say, refresh}`.
 */
export function refreshedPage({ box, url, kind, actions }) {
  const say = sayIn(document.getElementById("act_message"));
  localTimes(box);
  showCounts(JSON.parse(box.dataset.counts));

  const live = new Live({
    mark: { epoch: box.dataset.epoch, seq: Number(box.dataset.seq) },
    apply: ({ counts }) => counts && showCounts(counts),
    async fetchAll() {
      const part = await fetchPart(url);
      replaceContent(box, part.html);
      return part.mark;
    },
    status: showStatus,
  });
  setInterval(() => document.visibilityState === "visible" && live.resync(), POLL_MS);

  box.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-action]");
    const name = button?.closest(`[data-${kind}]`)?.dataset[kind];
    if (!button || name === undefined) return;
    try {
      say(await actions[button.dataset.action](name));
    } catch (error) {
      say(`The action failed: ${error.message}.`, true);
    }
    if (button.dataset.action !== "edit") live.resync();
  });
  return { say, refresh: () => live.resync() };
}
