/* One job's page: the line at the top follows every frame, the rest is fetched anew when the job changed. */

import { act, sayIn, wireActs } from "../parts/job_actions.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { JobLog } from "../parts/job_log.js";
import { ListView } from "../parts/list_view.js";
import { Live } from "../live/live_updates.js";
import { fetchPart, swap } from "../parts/partial_refresh.js";
import { localTimes } from "../lib/local_times.js";

const job = document.getElementById("job");
const id = job.dataset.id;
const say = sayIn(document.getElementById("act_message"));
/** What stands before a waiting job changes without an event of its own: the page looks this often. */
const LOOK_MS = 5000;

let view;
let row;
const log = new JobLog(id, () => !live?.gone && row.state === "active", () => live.resync());
function takeOver() {
  const list = document.getElementById("list");
  view = new ListView(list);
  [row] = view.rows();
  wireActs(list, say);
  log.takeOver();
}

/** The job is no more: say so, and stop asking for it. */
function gone() {
  live.gone = true;
  job.replaceChildren(Object.assign(document.createElement("p"), { className: "empty", textContent: `Job ${id} was removed.` }));
}

let live = null;
localTimes(job);
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
    swap(job, part.html);
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
}, LOOK_MS);

document.getElementById("priority_form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await act(id, "priority", { priority: Number(new FormData(event.target).get("priority")) });
    say("The priority is set.");
    live.resync();
  } catch (error) {
    say(`The priority was not set: ${error.message}.`, true);
  }
});

document.getElementById("copy_form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const data = JSON.parse(new FormData(event.target).get("data"));
    const answer = await act(id, "copy", { data });
    location.assign(`/job/${answer.id}`);
  } catch (error) {
    say(error instanceof SyntaxError ? "The data is not JSON." : `Not started: ${error.message}.`, true);
  }
});
