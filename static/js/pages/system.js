/* The system page: reloaded every few seconds, and after each action. */

import { wireCharts } from "../parts/chart_values.js";
import { sayIn } from "../parts/job_actions.js";
import { request } from "../lib/api.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { Live } from "../live/live_updates.js";
import { fetchPart, replaceContent } from "../refreshed/partial_refresh.js";
import { localTimes } from "../lib/local_times.js";

const POLL_MS = 5000;
const box = document.getElementById("system");
const say = sayIn(document.getElementById("act_message"));
localTimes(box);
wireCharts(box);
showCounts(JSON.parse(box.dataset.counts));

const live = new Live({
  mark: { epoch: box.dataset.epoch, seq: Number(box.dataset.seq) },
  apply: ({ counts }) => counts && showCounts(counts),
  async fetchAll() {
    const part = await fetchPart("/monitor/system");
    replaceContent(box, part.html);
    return part.mark;
  },
  status: showStatus,
});
setInterval(() => document.visibilityState === "visible" && live.resync(), POLL_MS);

async function run(name, body, done) {
  try {
    await request("POST", `/monitor/type/${name}`, body);
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
  if (button.dataset.action === "unlimit") return unlimit(type, button.closest("[data-part]").dataset.part);
  const pause = button.dataset.action === "pause";
  run(button.dataset.action, { type }, pause ? `Type ${type} paused.` : `Type ${type} resumed.`);
});

async function changeLimits(method, path, body, done, tell) {
  try {
    await request(method, path, body);
    tell(done);
    live.resync();
    return true;
  } catch (error) {
    tell(`Not changed: ${error.message}.`, true);
    return false;
  }
}

function unlimit(type, part) {
  const query = new URLSearchParams({ type, part });
  return changeLimits("DELETE", `/limits?${query}`, undefined, `Limit of type ${type} removed.`, say);
}

const form = document.getElementById("type_limit_form");
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = Object.fromEntries([...new FormData(form)].map(([name, text]) => [name, text.trim()]));
  const { type, rate, by } = fields;
  const numbers = ["burst", "concurrency"].map((name) => [name, fields[name] ? Number(fields[name]) : null]);
  const body = { type, rate, by, ...Object.fromEntries(numbers) };
  const tell = sayIn(document.getElementById("type_limit_message"));
  if (await changeLimits("POST", "/limits", body, `Type ${type} limited.`, tell)) form.reset();
});

box.addEventListener("change", (event) => {
  const input = event.target.closest("input[data-action=concurrency]");
  if (!input) return;
  const { type, worker } = input.dataset;
  const done = `Slots for type ${type} set to ${input.value}; takes effect within 2 seconds.`;
  run("concurrency", { type, worker, count: Number(input.value) }, done);
});
