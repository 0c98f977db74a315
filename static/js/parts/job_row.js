/* One job as a line: data in, element out. The markup is the server's own, cloned from #row_template. */

import { ago, bytes, countdown, duration } from "../lib/format.js";
import { Pace } from "../lib/rate_estimate.js";

export const LABELS = { inactive: "Queued", active: "Running", complete: "Completed", failed: "Failed", delayed: "Delayed" };
const PRIORITY_NAMES = { 10: "low", "-5": "medium", "-10": "high", "-15": "critical" };
/** When a paused job is due: never by itself (HOLD_UNTIL_MS in kue/states.py). */
const HELD_UNTIL = 253402300799000;
export const FINISHED = new Set(["complete", "failed"]);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

export class JobRow {
  /** Take over a line the server sent, or make a new one. */
  constructor(row, element = null) {
    this.element = element || document.getElementById("row_template").content.firstElementChild.cloneNode(true);
    const part = (name) => this.element.querySelector(`[data-part="${name}"]`);
    this.parts = Object.fromEntries(
      ["link", "title", "label", "bar", "percent", "detail", "file", "priority", "type", "run", "when"].map((name) => [name, part(name)]),
    );
    this.acts = [...this.element.querySelectorAll("[data-action]")];
    this.pace = new Pace();
    this.update(row);
  }

  update(row, now = Date.now()) {
    const { element, parts } = this;
    this.row = row;
    this.updatedAt = now;
    if (element.dataset.id !== String(row.id)) {
      this.pace = new Pace();
      element.dataset.id = row.id;
      element.id = `job_${row.id}`;
      parts.label.id = `log_${row.id}`;
      parts.link.textContent = row.id;
      parts.link.href = `/job/${row.id}`;
      parts.bar.setAttribute("aria-label", `Progress of job ${row.id}`);
      for (const act of this.acts) act.setAttribute("aria-label", `${act.dataset.word} job ${row.id}`);
    }
    element.dataset.state = row.state;
    setText(parts.title, row.title);
    parts.title.title = row.url || "";
    setText(parts.label, LABELS[row.state] || row.state);
    setText(parts.type, row.type);
    const priority = PRIORITY_NAMES[row.priority] || (row.priority ? `priority ${row.priority}` : "");
    setText(parts.priority, priority);
    setHidden(parts.priority, !priority);
    const running = row.state === "active";
    setHidden(parts.bar, !running);
    setHidden(parts.percent, !running);
    if (running) {
      if (row.progress > 0 || row.bytes?.total) parts.bar.value = row.progress;
      else parts.bar.removeAttribute("value");
      setText(parts.percent, `${row.progress} %`);
      this.pace.add(row.bytes ? row.bytes.done : row.progress, now);
    } else if (this.pace) this.pace = new Pace();
    setHidden(parts.file, !row.file);
    if (row.file) {
      setText(parts.file, row.file);
      parts.file.href = `/files/${encodeURIComponent(row.file)}`;
    }
    for (const act of this.acts) setHidden(act, !act.dataset.states.split(" ").includes(row.state));
    this.tick(now);
  }

  /** Refresh what depends on the clock. */
  tick(now = Date.now()) {
    setText(this.parts.when, this.#when(now));
    const detail = this.#detail(now);
    setText(this.parts.detail, detail);
    setHidden(this.parts.run, !detail && !this.row.file && this.row.state !== "active");
  }

  #when(now) {
    const row = this.row;
    if (row.state === "active") return row.started_at ? `for ${countdown(now - row.started_at)}` : "";
    if (row.promote_at === HELD_UNTIL && row.state === "delayed") return "paused";
    if (row.state === "delayed") return row.promote_at > now ? `in ${countdown(row.promote_at - now)}` : "due now";
    if (row.state === "inactive") return ago(now - row.created_at);
    const ended = ago(now - (row.updated_at || now));
    return row.state === "complete" && row.duration !== undefined ? `${duration(row.duration)} · ${ended}` : ended;
  }

  #detail(now) {
    const row = this.row;
    const again = row.error ? `attempt ${row.attempts_made + 1} of ${row.attempts_max}` : "";
    if (row.state === "active") {
      const parts = [];
      const total = row.bytes ? row.bytes.total : 100;
      const rate = row.bytes?.rate || this.pace.rate(now);
      const told = row.bytes?.eta_s;
      const left = typeof told === "number" ? told * 1000 - (now - this.updatedAt) : this.pace.left(total, now);
      if (row.bytes) parts.push(row.bytes.total ? `${bytes(row.bytes.done)} of ${bytes(row.bytes.total)}` : bytes(row.bytes.done));
      if (row.bytes && rate) parts.push(`${bytes(rate)}/s`);
      if (left !== null) parts.push(`${countdown(left)} left`);
      if (again) parts.push(again);
      return parts.join(" · ");
    }
    if (row.state === "delayed") {
      return row.error ? `${again} after: ${row.error}` : "";
    }
    if (row.state === "failed") return row.error || "";
    if (row.state === "inactive") return again ? `waiting for ${again}: ${row.error}` : "";
    if (row.state === "complete") {
      return row.bytes ? bytes(row.bytes.total || row.bytes.done) : "";
    }
    return "";
  }
}
