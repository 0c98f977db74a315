/* A job's page: the row at the top is updated by every frame, the rest is reloaded when the job changes. */

import { confirmed, runAction, sayIn, wireActions } from "../parts/job_actions.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { showJson } from "../parts/json_view.js";
import { JobLog } from "../parts/job_log.js";
import { ListView } from "../parts/list_view.js";
import { Live } from "../live/live_updates.js";
import { fetchPart, replaceContent } from "../refreshed/partial_refresh.js";
import { link } from "../lib/links.js";
import { localTimes } from "../lib/local_times.js";

const job = document.getElementById("job");
const id = job.dataset.id;
const say = sayIn(document.getElementById("act_message"));
/** The reason why a job waits changes without an event, so the page polls at this interval. */
const POLL_MS = 5000;

let view;
let row;
const log = new JobLog(id, () => !live?.gone && row.state === "active", () => live.resync());
function takeOver() {
  const list = document.getElementById("list");
  view = new ListView(list);
  [row] = view.rows();
  wireActions(list, say);
  log.takeOver();
}

/** The job was removed: say so, and stop polling. */
function gone() {
  live.gone = true;
  job.replaceChildren(Object.assign(document.createElement("p"), { className: "empty", textContent: `Job ${id} was removed.` }));
}

let live = null;
localTimes(job);
showJson(job);
takeOver();
live = new Live({
  mark: { epoch: job.dataset.epoch, seq: Number(job.dataset.seq) },
  apply({ rows = [], gone: removed = [], counts }) {
    if (counts) showCounts(counts);
    if (removed.some((each) => String(each) === id)) return gone();
    const changed = rows.find((each) => String(each.id) === id);
    if (!changed || live?.gone) return;
    const other = changed.state !== row.state || changed.attempts_made !== row.attempts_made;
    row = changed;
    view.show([row]);
    if (other) live?.resync();
  },
  async fetchAll() {
    const part = await fetchPart(`/monitor/job/${id}`);
    if (part === null) {
      gone();
      return live.mark;
    }
    replaceContent(job, part.html);
    takeOver();
    return part.mark;
  },
  status: showStatus,
});
showCounts(JSON.parse(job.dataset.counts));

setInterval(() => {
  if (!live.gone) view.tick(Date.now());
}, 1000);
setInterval(() => {
  const waits = row.state === "inactive" || row.state === "delayed";
  if (!live.gone && waits && document.visibilityState === "visible") live.resync();
}, POLL_MS);

/** The texts of a flow's buttons. */
const FLOW = {
  cancel: { ask: "Cancel", failed: "Not cancelled", yes: "Cancel jobs" },
  remove: { ask: "Remove", failed: "Not removed", yes: "Remove" },
};

job.addEventListener("click", async (event) => {
  const { flow } = event.target.closest("[data-flow]")?.dataset ?? {};
  if (!flow) return;
  const { ask, failed, yes } = FLOW[flow];
  if (!(await confirmed(`${ask} job ${id} and the jobs that it waits for, except those that others wait for too?`, yes))) return;
  try {
    await runAction(id, flow, { children: true });
    say("");
    if (!live.gone) live.resync();
  } catch (error) {
    say(`${failed}: ${error.message}.`, true);
  }
});

document.getElementById("priority_form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await runAction(id, "priority", { priority: Number(new FormData(event.target).get("priority")) });
    say("Priority updated.");
    live.resync();
  } catch (error) {
    say(`Priority not updated: ${error.message}.`, true);
  }
});

document.getElementById("copy_form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const data = JSON.parse(new FormData(event.target).get("data"));
    const answer = await runAction(id, "copy", { data });
    location.assign(link(`/job/${answer.id}`));
  } catch (error) {
    say(error instanceof SyntaxError ? "The data is not valid JSON." : `Not started: ${error.message}.`, true);
  }
});
