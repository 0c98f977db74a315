/* The page's side of the live protocol: keeps the page correct from a mark in the stream on, whatever happens.

   Frames are numbered. This file sees to it that each is applied once and in order, and that a hole is filled before
   anything after it is shown: by asking `watch` for what changed since the last frame, or by fetching the list again. */

import { link } from "../lib/links.js";
import { io } from "./socket.js";

/** Milliseconds without a message after which the page may be out of date. The server sends one each second. */
const STALE_MS = 5000;
/** Milliseconds without a message after which the connection is closed: after a sleep it may be dead unnoticed. */
const DEAD_MS = 12000;
const WATCH_TIMEOUT_MS = 8000;
/** Longest pause between two attempts to connect, before jitter: a visible page is correct within 2 s. */
const RECONNECT_MS = 1000;
/** Timeout of the n-th attempt: packet loss is noticed soon, a slow connection gets longer each time. */
const CONNECT_MS = (attempt) => Math.min(20000, 2000 * 1.25 ** attempt);
/** Milliseconds between two fetches of the list, and the spread that keeps many pages from fetching at once. */
const FETCH_MS = 1000;
const FETCH_SPREAD_MS = 400;
/** Changes without an event are found by fetching the list again, this often. */
const REFRESH_MS = 30000;

/**
 * Keep a page fresh.
 *   mark     {epoch, seq} of the state the page holds
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

  /** Fetch the list again as soon as that is allowed. */
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
      this.#watch(); // a hole: what lies in it must come first
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
      // The list is as of `mark` or later: frames since then come on top of it once more.
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
    else if (this.socket.io.transport === "polling") why = "by polling, as WebSockets are blocked";
    if (this.shown === state + why) return;
    this.shown = state + why;
    this.status(state, why);
  }
}
