/* The system page: fetched anew every few seconds, and after each act. */

import { sayIn } from "../parts/job_actions.js";
import { ask } from "../lib/api.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { Live } from "../live/live_updates.js";
import { fetchPart, swap } from "../parts/partial_refresh.js";
import { localTimes } from "../lib/local_times.js";

const LOOK_MS = 5000;
const box = document.getElementById("system");
const say = sayIn(document.getElementById("act_message"));
localTimes(box);
showCounts(JSON.parse(box.dataset.counts));

const live = new Live({
  mark: { epoch: box.dataset.epoch, seq: Number(box.dataset.seq) },
  apply: ({ counts }) => counts && showCounts(counts),
  async fetchAll() {
    const part = await fetchPart("/monitor/system");
    swap(box, part.html);
    return part.mark;
  },
  status: showStatus,
});
setInterval(() => document.visibilityState === "visible" && live.resync(), LOOK_MS);

async function act(name, body, done) {
  try {
    await ask("POST", `/monitor/type/${name}`, body);
    say(done);
  } catch (error) {
    say(`Not changed: ${error.message}.`, true);
  }
  live.resync();
}

box.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  const type = button?.closest("[data-type]")?.dataset.type;
  if (!button || type === undefined) return;
  const pause = button.dataset.action === "pause";
  act(button.dataset.action, { type }, pause ? `No worker takes jobs of type ${type} any more.` : `Jobs of type ${type} run again.`);
});

box.addEventListener("change", (event) => {
  const input = event.target.closest("input[data-action=concurrency]");
  if (!input) return;
  const { type, worker } = input.dataset;
  const done = `Up to ${input.value} jobs of type ${type} run at once in that process, within two seconds.`;
  act("concurrency", { type, worker, count: Number(input.value) }, done);
});
