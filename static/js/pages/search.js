/* Search results: rows are updated live, and the search is repeated when changes were missed. */

import { sayIn, wireActions } from "../parts/job_actions.js";
import { get } from "../lib/api.js";
import { wireBulk } from "../parts/bulk.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { ListView } from "../parts/list_view.js";
import { Selection } from "../parts/selection.js";
import { Live } from "../live/live_updates.js";

const list = document.getElementById("list");
const view = new ListView(list);
let rows = view.rows();

function paint() {
  view.show(rows);
  selection.update();
  document.getElementById("list_empty").hidden = rows.length > 0 || !list.dataset.words;
}

new Live({
  mark: { epoch: list.dataset.epoch, seq: Number(list.dataset.seq) },
  apply(frame) {
    const changed = new Map((frame.rows || []).map((row) => [row.id, row]));
    const gone = new Set(frame.gone || []);
    rows = rows.filter((row) => !gone.has(row.id)).map((row) => changed.get(row.id) || row);
    if (frame.counts) showCounts(frame.counts);
    paint();
  },
  async fetchAll() {
    const answer = await get(`/monitor/search?${new URLSearchParams({ q: list.dataset.words, from: list.dataset.first })}`);
    ({ rows } = answer);
    showCounts(answer.counts);
    paint();
    return answer.mark;
  },
  status: showStatus,
});
wireActions(list, sayIn(document.getElementById("act_message")));
const runBulk = wireBulk(document.getElementById("bulk"));
const selection = new Selection(view, runBulk);
setInterval(() => view.tick(Date.now()), 1000);
