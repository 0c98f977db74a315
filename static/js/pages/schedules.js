/* The page of schedules: fetched again every few seconds, and after each action. */

import { confirmed, sayIn } from "../parts/job_actions.js";
import { request } from "../lib/api.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { Live } from "../live/live_updates.js";
import { fetchPart, replaceContent } from "../parts/partial_refresh.js";
import { localTimes } from "../lib/local_times.js";
import { ScheduleForm } from "../parts/schedule_form.js";

const POLL_MS = 3000;
const box = document.getElementById("schedules");
const say = sayIn(document.getElementById("act_message"));
localTimes(box);
showCounts(JSON.parse(box.dataset.counts));

const live = new Live({
  mark: { epoch: box.dataset.epoch, seq: Number(box.dataset.seq) },
  apply: ({ counts }) => counts && showCounts(counts),
  async fetchAll() {
    const part = await fetchPart("/monitor/schedules");
    replaceContent(box, part.html);
    return part.mark;
  },
  status: showStatus,
});
setInterval(() => document.visibilityState === "visible" && live.resync(), POLL_MS);

const element = document.getElementById("schedule_form");
const form = element && new ScheduleForm(element, (name) => {
  say(`Schedule ${name} saved.`);
  live.resync();
});

const path = (name) => `/schedules/${name.split("/").map(encodeURIComponent).join("/")}`;
const ACTIONS = {
  async run(name) {
    const { id } = await request("POST", `${path(name)}/run`);
    return `Job ${id} of ${name} created.`;
  },
  async pause(name) {
    await request("POST", `${path(name)}/pause`);
    return `Schedule ${name} paused.`;
  },
  async resume(name) {
    await request("POST", `${path(name)}/resume`);
    return `Schedule ${name} resumed.`;
  },
  async edit(name) {
    form.edit(await request("GET", path(name)));
    return "";
  },
  async remove(name) {
    if (!(await confirmed(`Remove schedule ${name}? Its jobs stay.`))) return "";
    await request("DELETE", path(name));
    return `Schedule ${name} removed.`;
  },
};

box.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  const name = button?.closest("[data-schedule]")?.dataset.schedule;
  if (!button || name === undefined) return;
  try {
    say(await ACTIONS[button.dataset.action](name));
  } catch (error) {
    say(`Not done: ${error.message}.`, true);
  }
  if (button.dataset.action !== "edit") live.resync();
});
