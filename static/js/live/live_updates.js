/* The page's side of the live protocol: keeps the page correct, starting at a mark in the stream.

   Frames are numbered. Each is applied once and in order, and a gap is filled before later frames are shown: `watch`
   returns the changes since the last frame, or the list is fetched again. */

import { link } from "../lib/links.js";
import { io } from "./socket.js";

/** Milliseconds without a message after which the page may be out of date. The server sends one per second. */
const STALE_MS = 5000;
/** Milliseconds without a message after which the connection is closed: after a suspend it may be silently dead. */
const DEAD_MS = 12000;
const WATCH_TIMEOUT_MS = 8000;
/** Longest delay between connection attempts, before jitter: a visible page is correct within 2 s. */
const RECONNECT_MS = 1000;
/** Timeout of the n-th attempt: packet loss is noticed soon, slow connections get more time with each attempt. */
const CONNECT_MS = (attempt) => Math.min(20000, 2000 * 1.25 ** attempt);
/** Minimum interval of fetching the list, milliseconds, and the jitter that keeps pages from fetching simultaneously. */
const FETCH_MS = 1000;
const FETCH_SPREAD_MS = 400;
/** Interval of reloading the list, milliseconds, which finds changes without events. */
const REFRESH_MS = 30000;

/**
 * Keep a page up to date.
 *   mark     {epoch, seq} of the page's state
 *   apply    (frame) => void: show rows, gone, counts
 *   fetchAll async () => mark: fetch the list, show it, return its mark
 *   status   ("live" | "catching up" | "stale", why) => void
 */
export class Live {
  constructor({ mark, apply, fetchAll, status }) {
    Object.assign(this, { mark, apply, fetchAll, status });
    this.joined = false;
    this.fetching = false;
    this.fetchWanted = false;
    this.behind = false;
    this.missed = null;
    this.buffered = [];
    this.receivedAt = Date.now();
    this.problem = null;
    this.shown = null;
    this.shutdownReason = null;
    this.socket = io({ path: link("/socket.io/"), reconnectionDelayMax: RECONNECT_MS, timeout: CONNECT_MS });
    this.socket.on("connect", () => this.#watch());
    this.socket.on("disconnect", () => { this.joined = false; this.#updateStatus(); });
    this.socket.on("connect_error", () => this.#updateStatus());
    this.socket.on("batch", (frame) => this.#onFrame(frame));
    this.socket.on("shutdown", (last) => { this.shutdownReason = last?.reason || "the server is shutting down"; this.#updateStatus(); });
    this.timer = setInterval(() => this.#tick(), 1000);
    this.again = setInterval(() => document.visibilityState === "visible" && this.resync(), REFRESH_MS * (0.8 + 0.4 * Math.random()));
    this.#updateStatus();
  }

  /** Reload the list as soon as the interval allows. */
  resync() {
    this.fetchWanted = true;
    this.#fetch();
  }

  #watch() {
    this.joined = false;
    this.buffered = [];
    this.#updateStatus();
    const sid = this.socket.id;
    this.socket.timeout(WATCH_TIMEOUT_MS).emit("watch", this.mark, (error, frame) => {
      if (this.socket.id !== sid) return;
      if (error || !frame) {
        this.socket.io.drop();
        return;
      }
      this.shutdownReason = null;
      this.joined = true;
      this.receivedAt = Date.now();
      this.#show(frame);
      const buffered = this.buffered;
      this.buffered = [];
      for (const each of buffered) this.#onFrame(each);
      this.#updateStatus();
    });
  }

  #onFrame(frame) {
    this.receivedAt = Date.now();
    if (!this.joined) {
      this.buffered.push(frame);
      return;
    }
    if (frame.epoch !== this.mark.epoch || frame.seq > this.mark.seq + 1) {
      this.#watch(); // a gap: the missing changes must come first
      return;
    }
    if (frame.seq < this.mark.seq) return;
    this.#show(frame);
    this.#updateStatus();
  }

  #show(frame) {
    this.problem = frame.stale || null;
    this.mark = { epoch: frame.epoch, seq: frame.seq };
    this.apply(frame);
    this.missed?.push(frame);
    if (frame.resync) {
      this.behind = true;
      this.resync();
    }
  }

  async #fetch() {
    if (this.fetching || !this.fetchWanted) return;
    this.fetching = true;
    this.fetchWanted = false;
    this.missed = [];
    try {
      const mark = await this.fetchAll();
      // The list is as of `mark` or later: apply the frames since then again.
      let behind = false;
      for (const frame of this.missed) {
        if (frame.epoch === mark.epoch && frame.seq <= mark.seq) continue;
        this.apply(frame);
        behind ||= Boolean(frame.resync);
      }
      if (mark.epoch === this.mark.epoch ? mark.seq > this.mark.seq : !this.joined) this.mark = mark;
      this.behind = behind;
    } catch {
      this.behind = true;
      this.fetchWanted = true;
    }
    this.missed = null;
    setTimeout(() => {
      this.fetching = false;
      this.#fetch();
    }, FETCH_MS + FETCH_SPREAD_MS * Math.random());
    this.#updateStatus();
  }

  #tick() {
    const silent = Date.now() - this.receivedAt;
    if (this.socket.connected && silent > DEAD_MS) {
      this.receivedAt = Date.now() - STALE_MS;
      this.socket.io.drop("ping timeout");
    }
    this.#updateStatus();
  }

  #updateStatus() {
    let state = "live";
    let why = "";
    if (this.shutdownReason) [state, why] = ["stale", this.shutdownReason];
    else if (!this.socket.connected) [state, why] = ["stale", "no connection to the server"];
    else if (this.problem) [state, why] = ["stale", this.problem];
    else if (!this.joined || this.behind) state = "catching up";
    else if (Date.now() - this.receivedAt > STALE_MS) [state, why] = ["stale", "no updates from the server"];
    else if (this.socket.io.transport === "polling") why = "by polling, because WebSockets are blocked";
    if (this.shown === state + why) return;
    this.shown = state + why;
    this.status(state, why);
  }
}
