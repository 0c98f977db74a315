/* A list of one state: rows are updated by frames, and the page is reloaded when jobs were added or removed. */

import { sayIn, wireActions } from "../parts/job_actions.js";
import { get } from "../lib/api.js";
import { wireBulk } from "../parts/bulk.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { count } from "../lib/format.js";
import { ListView } from "../parts/list_view.js";
import { Selection } from "../parts/selection.js";
import { Live } from "../live/live_updates.js";
import { throttledRender } from "../lib/throttled_render.js";

const list = document.getElementById("list");
const { state, type, order, from, after, before } = list.dataset;
const view = new ListView(list);
const say = sayIn(document.getElementById("act_message"));
let rows = view.rows();
let counts = JSON.parse(list.dataset.counts);
let total = Number(list.dataset.total);
let first = Number(from);

const paint = throttledRender(() => {
  view.show(rows);
  selection.update();
  showCounts(counts);
  document.getElementById("list_empty").hidden = rows.length > 0;
  const pager = document.getElementById("pager");
  const part = (name) => pager.querySelector(`[data-part=${name}]`);
  pager.hidden = total <= rows.length;
  part("range").textContent = `${count(first + 1)} – ${count(first + rows.length)} of ${count(total)}`;
  part("previous").hidden = first <= 0;
  part("next").hidden = first + rows.length >= total;
  for (const element of document.querySelectorAll("#bulk [data-part=total]")) element.textContent = count(total);
  for (const button of document.querySelectorAll("[data-bulk]")) button.disabled = total === 0 || button.dataset.busy === "yes";
});

const live = new Live({
  mark: { epoch: list.dataset.epoch, seq: Number(list.dataset.seq) },
  apply(frame) {
    const changed = new Map((frame.rows || []).map((row) => [row.id, row]));
    const gone = new Set(frame.gone || []);
    const before = rows.length;
    rows = rows.filter((row) => !gone.has(row.id) && (changed.get(row.id)?.state ?? state) === state).map((row) => changed.get(row.id) || row);
    const came = [...changed.values()].some((row) => row.state === state && (!type || row.type === type) && !rows.some((each) => each.id === row.id));
    const moved = frame.counts && frame.counts[state] !== counts[state];
    if (frame.counts) counts = frame.counts;
    if (before !== rows.length || came || moved) live.resync();
    paint();
  },
  async fetchAll() {
    const query = new URLSearchParams({ type, order, from: String(first), after, before });
    const answer = await get(`/monitor/list/${state}?${query}`);
    ({ rows, counts, total, first } = answer);
    paint();
    return answer.mark;
  },
  status: showStatus,
});

wireActions(list, say);
const runBulk = wireBulk(document.getElementById("bulk"));
const selection = new Selection(view, runBulk);
for (const select of document.querySelectorAll("#filters select")) select.addEventListener("change", () => select.form.requestSubmit());
document.querySelector("#filters button").hidden = true;
setInterval(() => view.tick(Date.now()), 1000);
