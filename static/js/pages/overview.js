/* The overview: counts are updated by every frame, the rest is reloaded every few seconds while jobs change. */

import { wireCharts } from "../parts/chart_values.js";
import { fetchPart, replaceContent } from "../refreshed/partial_refresh.js";
import { showCounts, showStatus } from "../parts/state_tabs.js";
import { localTimes } from "../lib/local_times.js";
import { Live } from "../live/live_updates.js";

const POLL_MS = 5000;
const box = document.getElementById("overview");
let counts = JSON.parse(box.dataset.counts);
localTimes(box);
wireCharts(box);
showCounts(counts);

const live = new Live({
  mark: { epoch: box.dataset.epoch, seq: Number(box.dataset.seq) },
  apply(frame) {
    if (!frame.counts) return;
    counts = frame.counts;
    showCounts(counts);
  },
  async fetchAll() {
    const part = await fetchPart("/monitor/overview");
    replaceContent(box, part.html);
    return part.mark;
  },
  status: showStatus,
});
setInterval(() => document.visibilityState === "visible" && live.resync(), POLL_MS);
