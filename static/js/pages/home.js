/* The home page: connects the form, the lists and live updates. */

import { sayIn, wireActions } from "../parts/job_actions.js";
import { get } from "../lib/api.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { count } from "../lib/format.js";
import { ListView } from "../parts/list_view.js";
import { Live } from "../live/live_updates.js";
import { throttledRender } from "../lib/throttled_render.js";
import { wireStart } from "../parts/start_form.js";
import { wireStartList } from "../parts/start_list.js";
import { HomeStore } from "../live/store.js";

const list = document.getElementById("list");
const listView = new ListView(list);
const recentView = new ListView(document.getElementById("recent"));
const store = new HomeStore();
store.replace({ rows: listView.rows(), recent: recentView.rows(), counts: JSON.parse(list.dataset.counts) });

const paint = throttledRender(() => {
  listView.show(store.rows());
  recentView.show(store.recentRows());
  showCounts(store.counts);
  document.getElementById("list_empty").hidden = listView.views.size > 0;
  document.getElementById("recent_part").hidden = recentView.views.size === 0;
  for (const element of document.querySelectorAll("[data-more]")) {
    const hidden = store.hidden(element.dataset.more);
    element.hidden = hidden === 0;
    element.querySelector("[data-part=number]").textContent = count(hidden);
  }
});

const live = new Live({
  mark: { epoch: list.dataset.epoch, seq: Number(list.dataset.seq) },
  apply(frame) {
    store.apply(frame);
    paint();
  },
  async fetchAll() {
    const answer = await get(`/monitor/home?also=${store.finishedIds().join(",")}`);
    store.replace(answer);
    paint();
    return answer.mark;
  },
  status: showStatus,
});

wireStart(live.socket);
wireStartList();
const say = sayIn(document.getElementById("act_message"));
wireActions(list, say);
wireActions(document.getElementById("recent"), say);

/** Seconds that rows and counts must differ before the list is fetched: on a busy queue they often differ briefly. */
const DISAGREE_S = 3;
let disagreed = 0;
setInterval(() => {
  listView.tick(Date.now());
  disagreed = store.short() ? disagreed + 1 : 0;
  if (disagreed >= DISAGREE_S) {
    disagreed = -DISAGREE_S;
    live.resync();
  }
}, 1000);
