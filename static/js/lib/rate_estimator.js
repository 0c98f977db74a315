/* Estimates a running job's rate and time left from samples of its progress. Pure; the time is an argument. */

/** Window of the rate, milliseconds: long enough to be stable, short enough to follow changes. */
const WINDOW_MS = 6000;

export class RateEstimator {
  #samples = [];

  /** Record that `done` of `total` was reached at `now` (ms). */
  add(done, now) {
    const last = this.#samples.at(-1);
    if (last && done < last.done) this.#samples = []; // another attempt has started
    if (last && done === last.done) return;
    this.#samples.push({ done, now });
    while (this.#samples.length > 2 && this.#samples[0].now < now - WINDOW_MS) this.#samples.shift();
  }

  /** Units per second, or null while it is too early to tell. */
  rate(now) {
    if (this.#samples.length < 2) return null;
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    const span = Math.max(now, last.now) - first.now;
    return span >= 300 ? ((last.done - first.done) * 1000) / span : null;
  }

  /** Milliseconds left until `total`, or null. */
  left(total, now) {
    const rate = this.rate(now);
    const last = this.#samples.at(-1);
    if (!rate || rate <= 0 || !total) return null;
    return Math.max(0, ((total - last.done) / rate) * 1000 - (now - last.now));
  }
}
