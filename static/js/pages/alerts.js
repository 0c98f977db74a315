/* The Alerts page: reloaded every few seconds, and after each action. */

import { confirmed } from "../parts/job_actions.js";
import { refreshedPage } from "../refreshed/refreshed_page.js";
import { request } from "../lib/api.js";

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
    if (!(await confirmed(`Remove webhook ${name}? Pending deliveries are dropped.`))) return "";
    await request("DELETE", path(name));
    return `Webhook ${name} removed.`;
  },
};

refreshedPage({
  box: document.getElementById("alerts"),
  url: "/monitor/alerts",
  kind: "webhook",
  actions: ACTIONS,
});
