/* The page of alerts and webhooks: fetched again every few seconds, and after each action. */

import { confirmed, sayIn } from "../parts/job_actions.js";
import { request } from "../lib/api.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { Live } from "../live/live_updates.js";
import { fetchPart, replaceContent } from "../parts/partial_refresh.js";
import { localTimes } from "../lib/local_times.js";

const POLL_MS = 3000;
const box = document.getElementById("alerts");
const say = sayIn(document.getElementById("act_message"));
localTimes(box);
showCounts(JSON.parse(box.dataset.counts));

const live = new Live({
  mark: { epoch: box.dataset.epoch, seq: Number(box.dataset.seq) },
  apply: ({ counts }) => counts && showCounts(counts),
  async fetchAll() {
    const part = await fetchPart("/monitor/alerts");
    replaceContent(box, part.html);
    return part.mark;
  },
  status: showStatus,
});
setInterval(() => document.visibilityState === "visible" && live.resync(), POLL_MS);

const path = (name) => `/webhooks/${encodeURIComponent(name)}`;
const ACTIONS = {
  async test(name) {
    const { id } = await request("POST", `${path(name)}/test`);
    return `Job ${id} delivers a test to ${name}.`;
  },
  async enable(name) {
    await request("POST", `${path(name)}/enable`);
    return `Webhook ${name} enabled.`;
  },
  async disable(name) {
    await request("POST", `${path(name)}/disable`);
    return `Webhook ${name} disabled.`;
  },
  async remove(name) {
    if (!(await confirmed(`Remove webhook ${name}? What was not delivered to it yet is not delivered.`))) return "";
    await request("DELETE", path(name));
    return `Webhook ${name} removed.`;
  },
};

box.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  const name = button?.closest("[data-webhook]")?.dataset.webhook;
  if (!button || name === undefined) return;
  try {
    say(await ACTIONS[button.dataset.action](name));
  } catch (error) {
    say(`Not done: ${error.message}.`, true);
  }
  live.resync();
});
