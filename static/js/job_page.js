/* One job's page: the line at the top follows every frame, the rest is fetched anew when the job changed. */

import { act, sayIn, wireActs } from "./acts.js";
import { ApiError } from "./api.js";
import { showCounts, showStatus } from "./counts.js";
import { ListView } from "./list_view.js";
import { Live } from "./live.js";
import { localTimes } from "./times.js";

const job = document.getElementById("job");
const id = job.dataset.id;
const say = sayIn(document.getElementById("act_message"));
/** Log lines have no event of their own: while the job runs the page looks this often. */
const LOOK_MS = 2000;

let view;
let row;
function takeOver() {
  localTimes(job);
  const list = document.getElementById("list");
  view = new ListView(list);
  [row] = view.rows();
  wireActs(list, say);
  for (const log of job.querySelectorAll("[data-follow]")) if (!log.dataset.placed) log.scrollTop = log.scrollHeight;
}

/** Put the server's newest form in place of the old, leaving scrolled boxes and the focus where they were. */
function swap(html) {
  const kept = new Map([...job.querySelectorAll("[data-keep]")].map((box) => [box.dataset.keep, {
    top: box.scrollTop, left: box.scrollLeft, end: box.scrollTop + box.clientHeight >= box.scrollHeight - 8,
  }]));
  const focused = document.activeElement;
  const focus = job.contains(focused) ? [focused.dataset.keep, focused.dataset.action] : null;
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  job.replaceChildren(fresh.content);
  for (const box of job.querySelectorAll("[data-keep]")) {
    const was = kept.get(box.dataset.keep);
    if (!was) continue;
    box.dataset.placed = "yes";
    box.scrollTop = "follow" in box.dataset && was.end ? box.scrollHeight : was.top;
    box.scrollLeft = was.left;
  }
  takeOver();
  if (focus) {
    const [keep, action] = focus;
    const selector = keep ? `[data-keep="${keep}"]` : action ? `[data-action="${action}"]:not([hidden])` : "#list";
    (job.querySelector(selector) || document.getElementById("list")).focus();
  }
}

function gone() {
  live.gone = true;
  job.replaceChildren(Object.assign(document.createElement("p"), { className: "empty", textContent: `Job ${id} was removed.` }));
}

takeOver();
const live = new Live({
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
    const response = await fetch(`/monitor/job/${id}`, { cache: "no-store", headers: { Accept: "text/html" }, signal: AbortSignal.timeout(15000) });
    const [epoch, seq] = (response.headers.get("X-Kue-Mark") || "").split(" ");
    if (response.status === 404) {
      gone();
      return live.mark;
    }
    if (!response.ok || !epoch) throw new ApiError("", response.status);
    swap(await response.text());
    return { epoch, seq: Number(seq) };
  },
  status: showStatus,
});
showCounts(JSON.parse(job.dataset.counts));

setInterval(() => {
  if (!live.gone) view.tick(Date.now());
}, 1000);
setInterval(() => {
  if (!live.gone && row.state === "active" && document.visibilityState === "visible") live.resync();
}, LOOK_MS);

document.getElementById("priority_form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await act(id, "priority", { priority: Number(new FormData(event.target).get("priority")) });
    say("The priority is set.");
    live.resync();
  } catch (error) {
    say(`The priority was not set: ${error.message}.`, true);
  }
});

document.getElementById("copy_form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const data = JSON.parse(new FormData(event.target).get("data"));
    const answer = await act(id, "copy", { data });
    location.assign(`/job/${answer.id}`);
  } catch (error) {
    say(error instanceof SyntaxError ? "The data is not JSON." : `Not started: ${error.message}.`, true);
  }
});
