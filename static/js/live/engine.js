/* The transport: Engine.IO 4 over one WebSocket, or by polling if that is blocked. Connects, answers pings, notices
   timeouts, and reconnects with backoff and jitter. socket.js handles the messages. */

import { Emitter } from "./emitter.js";
import { Polling } from "./polling.js";

const RECONNECT_FIRST_MS = 500;
const RECONNECT_MAX_MS = 5000;
const CONNECT_TIMEOUT_MS = 20000;
/** Timeout for opening a WebSocket while polling works, milliseconds. */
const PROBE_MS = 1500;

/** The connection to one server: opens, answers pings, and reconnects after a loss until it is closed. */
export class Engine extends Emitter {
  constructor(url, options) {
    super();
    this.url = url;
    this.options = { reconnection: true, reconnectionDelay: RECONNECT_FIRST_MS, reconnectionDelayMax: RECONNECT_MAX_MS,
      randomizationFactor: 0.5, reconnectionAttempts: Infinity, timeout: CONNECT_TIMEOUT_MS, path: "/socket.io/", ...options };
    this.sockets = new Map();
    this.ws = null;
    this.state = "closed";
    this.attempts = 0;
    this.wanted = false;
    /** Whether the last attempt used a WebSocket and failed: the next one checks whether polling works. */
    this.wsFailed = false;
    this.probe = null;
    this.timeoutTimer = null;
    this.timer = null;
    const now = () => this.wanted && this.state === "waiting" && this.open();
    globalThis.addEventListener?.("online", now);
    globalThis.document?.addEventListener("visibilitychange", () => document.visibilityState === "visible" && now());
  }

  open() {
    if (this.state === "open" || this.state === "opening") return this;
    clearTimeout(this.timer);
    this.wanted = true;
    this.state = "opening";
    let ws;
    try {
      ws = this.wsFailed ? new Polling(this.#target("polling")) : new WebSocket(this.#target("websocket").href);
    } catch (error) {
      this.#onClose("transport error", error);
      return this;
    }
    this.#use(ws);
    const { timeout } = this.options;
    this.timeoutTimer = setTimeout(() => this.drop("timeout"), typeof timeout === "function" ? timeout(this.attempts) : timeout);
    return this;
  }

  /** "websocket" or "polling". */
  get transport() { return this.ws instanceof Polling ? "polling" : "websocket"; }

  #target(transport) {
    const target = new URL(this.options.path, this.url);
    if (transport === "websocket") target.protocol = target.protocol.replace("http", "ws");
    for (const [name, value] of Object.entries(this.options.query || {})) target.searchParams.set(name, value);
    target.searchParams.set("EIO", "4");
    target.searchParams.set("transport", transport);
    return target;
  }

  #use(ws) {
    this.ws = ws;
    ws.onmessage = (message) => this.ws === ws && this.#onData(message.data);
    ws.onclose = () => this.ws === ws && this.#onClose("transport close");
    ws.onerror = () => {};
  }

  /* Polling works. If a WebSocket works now, too, the server was only unreachable; otherwise WebSockets are blocked. */
  #probeWebSocket(hello) {
    const polling = this.ws;
    const probe = new WebSocket(this.#target("websocket").href);
    const decide = (data) => {
      clearTimeout(timer);
      if (this.probe !== probe) return;
      this.probe = null;
      probe.onmessage = probe.onclose = null;
      if (data === undefined) {
        probe.close();
        this.#onOpen(hello);
      } else {
        this.#use(probe);
        polling.close();
        this.#onData(data);
      }
    };
    const timer = setTimeout(decide, PROBE_MS);
    this.probe = probe;
    probe.onmessage = (message) => decide(message.data);
    probe.onclose = () => decide();
  }

  #endProbe() {
    const probe = this.probe;
    this.probe = null;
    probe?.close();
  }

  /** Close the current connection as if it had dropped; it reconnects if it is needed. */
  drop(reason = "transport close") {
    const ws = this.ws;
    if (ws === null) return;
    this.#onClose(reason);
    ws.close();
  }

  send(text) {
    if (this.ws !== null && this.ws.readyState === 1) this.ws.send("4" + text);
  }

  close() {
    this.wanted = false;
    clearTimeout(this.timer);
    const ws = this.ws;
    this.#onClose("forced close");
    if (ws !== null) ws.close();
    this.state = "closed";
  }

  #onData(text) {
    if (typeof text !== "string") return;
    const kind = text[0];
    if (kind === "0") {
      const hello = JSON.parse(text.slice(1));
      if (this.transport === "polling") return this.#probeWebSocket(hello);
      return this.#onOpen(hello);
    }
    if (kind === "2") this.ws.send("3" + text.slice(1));
    else if (kind === "1") return this.drop();
    else if (kind === "4") this.#onMessage(text.slice(1));
    this.#expectMore();
  }

  #onOpen(hello) {
    this.heartbeatMs = hello.pingInterval + hello.pingTimeout;
    const again = this.attempts > 0;
    this.state = "open";
    this.attempts = 0;
    this.#expectMore();
    for (const socket of this.sockets.values()) if (socket.active) socket.sendConnect();
    this.fire("open");
    if (again) this.fire("reconnect");
  }

  #expectMore() {
    clearTimeout(this.timeoutTimer);
    this.timeoutTimer = setTimeout(() => this.drop("ping timeout"), this.heartbeatMs);
  }

  #onMessage(text) {
    const match = /^([0-6])(?:(\/[^,]*),)?(\d+)?([^]*)$/.exec(text);
    if (!match) return;
    const socket = this.sockets.get(match[2] || "/");
    let data;
    try {
      data = match[4] ? JSON.parse(match[4]) : undefined;
    } catch {
      return this.drop("parse error");
    }
    if (socket) socket.onPacket(Number(match[1]), match[3] === undefined ? null : Number(match[3]), data);
  }

  #onClose(reason, error) {
    clearTimeout(this.timeoutTimer);
    const opened = this.state === "open";
    this.wsFailed = !opened && !this.wsFailed;
    this.#endProbe();
    this.ws = null;
    this.state = "closed";
    const failure = error || new Error(reason === "transport close" ? "websocket error" : reason);
    for (const socket of this.sockets.values()) {
      if (opened) socket.onClose(reason);
      else if (this.wanted && socket.active) socket.fire("connect_error", failure);
    }
    if (opened) this.fire("close", reason);
    else if (this.wanted) this.fire(this.attempts ? "reconnect_error" : "error", failure);
    if (!this.wanted || !this.options.reconnection) return;
    if (this.attempts >= this.options.reconnectionAttempts) {
      this.wanted = false;
      this.fire("reconnect_failed");
      return;
    }
    const { reconnectionDelay, reconnectionDelayMax, randomizationFactor } = this.options;
    const delay = Math.min(reconnectionDelayMax, reconnectionDelay * 2 ** Math.min(this.attempts, 16));
    this.attempts += 1;
    this.state = "waiting";
    this.timer = setTimeout(() => {
      this.fire("reconnect_attempt", this.attempts);
      this.open();
    }, delay * (1 + randomizationFactor * (2 * Math.random() - 1)));
  }
}
