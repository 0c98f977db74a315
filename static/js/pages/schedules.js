/* The Schedules page: reloaded every few seconds, and after each action. */

import { confirmed } from "../parts/job_actions.js";
import { refreshedPage } from "../refreshed/refreshed_page.js";
import { request } from "../lib/api.js";
import { ScheduleForm } from "../parts/schedule_form.js";

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
    if (!(await confirmed(`Remove schedule ${name}? Its jobs are kept.`))) return "";
    await request("DELETE", path(name));
    return `Schedule ${name} removed.`;
  },
};

const { say, refresh } = refreshedPage({
  box: document.getElementById("schedules"),
  url: "/monitor/schedules",
  kind: "schedule",
  actions: ACTIONS,
});

const element = document.getElementById("schedule_form");
const form = element && new ScheduleForm(element, (name) => {
  say(`Schedule ${name} saved.`);
  refresh();
});
