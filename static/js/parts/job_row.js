/* One job as a row: data in, element out. The markup is the server's own, cloned from #row_template. */

import { absolute, ago, bytes, count, countdown, duration } from "../lib/format.js";
import { link } from "../lib/links.js";
import { config } from "../lib/page_config.js";
import { RateEstimator } from "../lib/rate_estimator.js";

const LABELS = config.state_labels;
const PRIORITY_NAMES = Object.fromEntries(Object.entries(config.priorities).map(([name, priority]) => [priority, name]));
export const FINISHED = new Set(["complete", "failed"]);

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function childrenText(children) {
  return `${count(children.ended)} of ${count(children.total)} children`;
}

function setHidden(element, hidden) {
  if (element.hidden !== hidden) element.hidden = hidden;
}

export class JobRow {
  /** Use a row rendered by the server, or create one. */
  constructor(row, element = null) {
    this.element = element || document.getElementById("row_template").content.firstElementChild.cloneNode(true);
    const part = (name) => this.element.querySelector(`[data-part="${name}"]`);
    this.parts = Object.fromEntries(
      ["link", "title", "label", "bar", "percent", "detail", "file", "priority", "type", "run", "when", "pick"].map((name) => [name, part(name)]),
    );
    this.actions = [...this.element.querySelectorAll("[data-action]")];
    this.rate = new RateEstimator();
    this.update(row);
  }

  update(row, now = Date.now()) {
    const { element, parts } = this;
    this.row = row;
    this.updatedAt = now;
    if (element.dataset.id !== String(row.id)) {
      this.rate = new RateEstimator();
      element.dataset.id = row.id;
      element.id = `job_${row.id}`;
      parts.label.id = `log_${row.id}`;
      parts.link.textContent = row.id;
      parts.link.href = link(`/job/${row.id}`);
      parts.pick?.setAttribute("aria-label", `Select job ${row.id}`);
      parts.bar.setAttribute("aria-label", `Progress of job ${row.id}`);
      for (const action of this.actions) action.setAttribute("aria-label", `${action.dataset.word} job ${row.id}`);
    }
    element.dataset.state = row.state;
    setText(parts.title, row.title);
    parts.title.title = row.url || row.title;
    setText(parts.label, LABELS[row.state] || row.state);
    setText(parts.type, row.type);
    parts.type.title = row.type;
    const priority = row.priority ? PRIORITY_NAMES[row.priority] || `priority ${row.priority}` : "";
    setText(parts.priority, priority);
    setHidden(parts.priority, !priority);
    const running = row.state === "active";
    setHidden(parts.bar, !running);
    setHidden(parts.percent, !running);
    if (running) {
      if (row.progress > 0 || row.bytes?.total) parts.bar.value = row.progress;
      else parts.bar.removeAttribute("value");
      setText(parts.percent, `${row.progress} %`);
      this.rate.add(row.bytes ? row.bytes.done : row.progress, now);
    } else if (this.rate) this.rate = new RateEstimator();
    setHidden(parts.file, !row.file);
    if (row.file) {
      setText(parts.file, row.file);
      parts.file.href = link(`/files/${encodeURIComponent(row.file)}`);
    }
    for (const action of this.actions) setHidden(action, !action.dataset.states.split(" ").includes(row.state));
    this.tick(now);
  }

  /** Update the parts that depend on the current time. */
  tick(now = Date.now()) {
    setText(this.parts.when, this.#when(now));
    const moment = this.#moment();
    const title = moment && ![config.hold_until_ms, config.wait_until_ms, config.aside_until_ms].includes(moment) ? absolute(moment) : "";
    if (this.parts.when.title !== title) this.parts.when.title = title;
    const detail = this.#detail(now);
    setText(this.parts.detail, detail);
    setHidden(this.parts.run, !detail && !this.row.file && this.row.state !== "active");
  }

  /** Show whether the row is selected. */
  showPicked(picked) {
    const { pick } = this.parts;
    if (!pick) return;
    pick.parentElement.hidden = false;
    if (pick.checked !== picked) pick.checked = picked;
    this.element.classList.toggle("is_picked", picked);
  }

  #moment() {
    const row = this.row;
    return { active: row.started_at, delayed: row.promote_at, inactive: row.created_at }[row.state] ?? row.updated_at;
  }

  #when(now) {
    const row = this.row;
    if (row.state === "active") return row.started_at ? `for ${countdown(now - row.started_at)}` : "";
    if (row.promote_at === config.hold_until_ms && row.state === "delayed") return "suspended";
    if (row.promote_at === config.aside_until_ms && row.state === "delayed") return "limited";
    if (row.promote_at === config.wait_until_ms && row.state === "delayed" && row.children) return childrenText(row.children);
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
      const rate = row.bytes?.rate || this.rate.rate(now);
      const told = row.bytes?.eta_s;
      const left = typeof told === "number" ? told * 1000 - (now - this.updatedAt) : this.rate.left(total, now);
      if (row.bytes) parts.push(row.bytes.total ? `${bytes(row.bytes.done)} of ${bytes(row.bytes.total)}` : bytes(row.bytes.done));
      if (row.bytes && rate) parts.push(`${bytes(rate)}/s`);
      if (left !== null) parts.push(`${countdown(left)} left`);
      if (again) parts.push(again);
      return parts.join(" · ");
    }
    if (row.state === "delayed") {
      return row.error ? `${row.error} · next: ${again}` : "";
    }
    if (row.state === "failed") return row.error || "";
    if (row.state === "inactive") return again ? `${row.error} · next: ${again}` : "";
    if (row.state === "complete") {
      return row.bytes ? bytes(row.bytes.total || row.bytes.done) : "";
    }
    return "";
  }
}
