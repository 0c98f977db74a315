/* The log of one job: its lines have no events, so it is polled while the job runs. */

import { get } from "../lib/api.js";

/** Polling interval, milliseconds. */
const POLL_MS = 1000;
/** The server keeps this many lines per job and then drops the oldest, so line numbers shift. */
const NUMBERED = 1000;

export class JobLog {
  /** `id` of the job; `running()` returns whether new lines are possible; `refetch()` reloads the part of the page. */
  constructor(id, running, refetch) {
    Object.assign(this, { id, running, refetch });
    this.follow = true;
    this.busy = false;
    this.timer = setInterval(() => this.poll(), POLL_MS);
  }

  /** Attach to the part of the page that was just inserted. */
  takeOver() {
    this.box = document.getElementById("job_log");
    const label = document.getElementById("log_follow");
    this.check = label.querySelector("input");
    this.check.checked = this.follow;
    label.hidden = !this.running();
    this.check.addEventListener("change", () => {
      this.follow = this.check.checked;
      this.#toEnd();
    });
    // Scrolling back stops following; scrolling to the end resumes it.
    this.box.addEventListener("scroll", () => {
      if (!this.running()) return;
      this.follow = this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - 8;
      this.check.checked = this.follow;
    });
    this.#toEnd();
  }

  async poll() {
    if (this.busy || !this.box || !this.running() || document.visibilityState !== "visible") return;
    const next = Number(this.box.dataset.next);
    if (next >= NUMBERED) {
      this.refetch();
      return;
    }
    this.busy = true;
    const box = this.box;
    try {
      const { lines } = await get(`/monitor/job/${encodeURIComponent(this.id)}/log?from=${next}`);
      if (box === this.box && lines.length) {
        box.append(lines.map((line) => line + "\n").join(""));
        box.dataset.next = next + lines.length;
        box.hidden = false;
        document.getElementById("log_empty").hidden = true;
        this.#toEnd();
      }
    } catch {
      // the status at the top shows the problem
    }
    this.busy = false;
  }

  #toEnd() {
    if (this.follow) this.box.scrollTop = this.box.scrollHeight;
  }
}
