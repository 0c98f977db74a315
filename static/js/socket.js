/* A small Socket.IO client: Engine.IO 4 and Socket.IO 5 over WebSocket. Events, acknowledgements, pings, and
   reconnecting with backoff and jitter; no polling, no binary. Used by our own pages as a module, and sent to pages written
   for a Node server as the classic script /socket.io/socket.io.js, so it imports nothing and exports only declarations. */

const RECONNECT_FIRST_MS = 500;
const RECONNECT_MAX_MS = 5000;
const CONNECT_TIMEOUT_MS = 20000;
const LOCAL_EVENTS = new Set(["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]);

export class Emitter {
  #listeners = new Map();

  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, []);
    this.#listeners.get(name).push({ listener, once: false });
    return this;
  }

  once(name, listener) {
    this.on(name, listener);
    this.#listeners.get(name).at(-1).once = true;
    return this;
  }

  off(name, listener) {
    if (name === undefined) this.#listeners.clear();
    else if (listener === undefined) this.#listeners.delete(name);
    else this.#listeners.set(name, (this.#listeners.get(name) || []).filter((entry) => entry.listener !== listener));
    return this;
  }

  listeners(name) {
    return (this.#listeners.get(name) || []).map((entry) => entry.listener);
  }

  hasListeners(name) {
    return this.listeners(name).length > 0;
  }

  /** Call the listeners. One that throws does not keep the others from hearing. */
  fire(name, ...args) {
    for (const entry of [...(this.#listeners.get(name) || [])]) {
      if (entry.once) this.off(name, entry.listener);
      try {
        entry.listener.apply(this, args);
      } catch (error) {
        setTimeout(() => { throw error; });
      }
    }
  }

  addListener(name, listener) { return this.on(name, listener); }
  removeListener(name, listener) { return this.off(name, listener); }
  removeEventListener(name, listener) { return this.off(name, listener); }
  addEventListener(name, listener) { return this.on(name, listener); }
  removeAllListeners(name) { return this.off(name); }
}

/** The line to one server. It opens, listens for pings, and opens again after a loss, until told to close. */
export class Manager extends Emitter {
  constructor(url, options) {
    super();
    this.url = url;
    this.options = { reconnection: true, reconnectionDelay: RECONNECT_FIRST_MS, reconnectionDelayMax: RECONNECT_MAX_MS,
      randomizationFactor: 0.5, reconnectionAttempts: Infinity, timeout: CONNECT_TIMEOUT_MS, path: "/socket.io/", ...options };
    this.sockets = new Map();
    this.web = null;
    this.state = "closed";
    this.attempts = 0;
    this.wanted = false;
    this.silence = null;
    this.timer = null;
    const now = () => this.wanted && this.state === "waiting" && this.open();
    globalThis.addEventListener?.("online", now);
    globalThis.document?.addEventListener("visibilitychange", () => document.visibilityState === "visible" && now());
  }

  socket(namespace) {
    if (!this.sockets.has(namespace)) this.sockets.set(namespace, new Socket(this, namespace));
    return this.sockets.get(namespace);
  }

  open() {
    if (this.state === "open" || this.state === "opening") return this;
    clearTimeout(this.timer);
    this.wanted = true;
    this.state = "opening";
    const target = new URL(this.options.path, this.url);
    target.protocol = target.protocol.replace("http", "ws");
    for (const [name, value] of Object.entries(this.options.query || {})) target.searchParams.set(name, value);
    target.searchParams.set("EIO", "4");
    target.searchParams.set("transport", "websocket");
    let web;
    try {
      web = new WebSocket(target.href);
    } catch (error) {
      this.#lost("transport error", error);
      return this;
    }
    this.web = web;
    const { timeout } = this.options;
    this.silence = setTimeout(() => this.drop("timeout"), typeof timeout === "function" ? timeout(this.attempts) : timeout);
    web.onmessage = (message) => this.web === web && this.#receive(message.data);
    web.onclose = () => this.web === web && this.#lost("transport close");
    web.onerror = () => {};
    return this;
  }

  /** End the present connection as if the line had broken; a wanted one is opened again. */
  drop(reason = "transport close") {
    const web = this.web;
    if (web === null) return;
    this.#lost(reason);
    web.close();
  }

  send(text) {
    if (this.web !== null && this.web.readyState === 1) this.web.send("4" + text);
  }

  close() {
    this.wanted = false;
    clearTimeout(this.timer);
    const web = this.web;
    this.#lost("forced close");
    if (web !== null) web.close();
    this.state = "closed";
  }

  #receive(text) {
    if (typeof text !== "string") return;
    const kind = text[0];
    if (kind === "0") {
      const hello = JSON.parse(text.slice(1));
      this.patience = hello.pingInterval + hello.pingTimeout;
      const again = this.attempts > 0;
      this.state = "open";
      this.attempts = 0;
      for (const socket of this.sockets.values()) if (socket.active) socket.greet();
      this.fire("open");
      if (again) this.fire("reconnect");
    } else if (kind === "2") this.web.send("3" + text.slice(1));
    else if (kind === "1") return this.drop();
    else if (kind === "4") this.#message(text.slice(1));
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.drop("ping timeout"), this.patience);
  }

  #message(text) {
    const match = /^([0-6])(?:(\/[^,]*),)?(\d+)?([^]*)$/.exec(text);
    if (!match) return;
    const socket = this.sockets.get(match[2] || "/");
    let data;
    try {
      data = match[4] ? JSON.parse(match[4]) : undefined;
    } catch {
      return this.drop("parse error");
    }
    if (socket) socket.take(Number(match[1]), match[3] === undefined ? null : Number(match[3]), data);
  }

  #lost(reason, error) {
    clearTimeout(this.silence);
    const opened = this.state === "open";
    this.web = null;
    this.state = "closed";
    const failure = error || new Error(reason === "transport close" ? "websocket error" : reason);
    for (const socket of this.sockets.values()) {
      if (opened) socket.lost(reason);
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

/** One namespace of a line: what `io()` returns. */
export class Socket extends Emitter {
  constructor(manager, namespace) {
    super();
    this.io = manager;
    this.nsp = namespace;
    this.id = undefined;
    this.connected = false;
    this.active = false;
    this.auth = manager.options.auth;
    this.waiting = [];
    this.acks = new Map();
    this.nextAck = 0;
    this.anyListeners = [];
    this.flags = {};
  }

  get disconnected() { return !this.connected; }
  get volatile() { this.flags.volatile = true; return this; }
  timeout(ms) { this.flags.timeout = ms; return this; }
  compress() { return this; }
  onAny(listener) { this.anyListeners.push(listener); return this; }
  offAny(listener) { this.anyListeners = listener ? this.anyListeners.filter((each) => each !== listener) : []; return this; }

  connect() {
    if (this.connected) return this;
    this.active = true;
    if (this.io.state === "open") this.greet();
    else this.io.open();
    return this;
  }

  open() { return this.connect(); }

  disconnect() {
    this.active = false;
    if (this.connected) {
      this.#packet(1, null);
      this.lost("io client disconnect");
    }
    if (![...this.io.sockets.values()].some((socket) => socket.active)) this.io.close();
    return this;
  }

  close() { return this.disconnect(); }

  /** Send an event. A function as last argument gets the acknowledgement; with `timeout(ms)` it gets `(error, …)`. */
  emit(name, ...args) {
    if (LOCAL_EVENTS.has(name)) throw new Error(`"${name}" is a reserved event name`);
    const { volatile, timeout } = this.flags;
    this.flags = {};
    let id = null;
    if (typeof args.at(-1) === "function") {
      const answer = args.pop();
      id = this.nextAck++;
      const entry = { answer, withError: timeout !== undefined };
      if (entry.withError) entry.timer = setTimeout(() => {
        this.acks.delete(id);
        this.waiting = this.waiting.filter((packet) => packet.id !== id);
        answer(new Error("operation has timed out"));
      }, timeout);
      this.acks.set(id, entry);
    }
    const packet = { id, text: JSON.stringify([name, ...args]) };
    if (this.connected) this.#packet(2, packet.id, packet.text);
    else if (!volatile) this.waiting.push(packet);
    return this;
  }

  send(...args) { return this.emit("message", ...args); }

  emitWithAck(name, ...args) {
    const timed = this.flags.timeout !== undefined;
    return new Promise((resolve, reject) => {
      this.emit(name, ...args, timed ? (error, value) => (error ? reject(error) : resolve(value)) : resolve);
    });
  }

  greet() {
    const send = (auth) => this.#packet(0, null, auth === undefined ? "" : JSON.stringify(auth));
    if (typeof this.auth === "function") this.auth(send);
    else send(this.auth);
  }

  take(kind, id, data) {
    if (kind === 0) {
      this.id = data?.sid;
      this.connected = true;
      const waiting = this.waiting;
      this.waiting = [];
      this.fire("connect");
      for (const packet of waiting) this.#packet(2, packet.id, packet.text);
    } else if (kind === 1) {
      this.active = false;
      this.lost("io server disconnect");
    } else if (kind === 2) this.#event(id, data);
    else if (kind === 3) this.#answered(id, data);
    else if (kind === 4) {
      const error = new Error(data?.message || "connection refused");
      error.data = data?.data;
      this.active = false;
      this.fire("connect_error", error);
    }
  }

  lost(reason) {
    if (!this.connected) return;
    this.connected = false;
    this.id = undefined;
    for (const [id, entry] of this.acks) {
      if (!entry.withError || this.waiting.some((packet) => packet.id === id)) continue;
      clearTimeout(entry.timer);
      this.acks.delete(id);
      entry.answer(new Error("socket has been disconnected"));
    }
    this.fire("disconnect", reason);
  }

  #event(id, data) {
    if (!Array.isArray(data)) return;
    const args = [...data];
    if (id !== null) args.push((...answer) => this.#packet(3, id, JSON.stringify(answer)));
    for (const listener of this.anyListeners) listener(...args);
    this.fire(...args);
  }

  #answered(id, data) {
    const entry = this.acks.get(id);
    if (entry === undefined) return;
    this.acks.delete(id);
    clearTimeout(entry.timer);
    if (entry.withError) entry.answer(null, ...data);
    else entry.answer(...data);
  }

  #packet(kind, id, text = "") {
    const namespace = this.nsp === "/" ? "" : this.nsp + ",";
    this.io.send(kind + namespace + (id === null ? "" : id) + text);
  }
}

const managers = new Map();

/** Connect to a server: `io()`, `io(url)`, `io(url, options)`, `io(options)`. The url's path names the namespace. */
export function io(url, options) {
  if (typeof url === "object" && url !== null) [url, options] = [undefined, url];
  const settings = options || {};
  const target = new URL(url || "/", globalThis.location?.href);
  target.protocol = target.protocol.replace(/^ws/, "http");
  const namespace = target.pathname === "" ? "/" : target.pathname;
  const query = { ...Object.fromEntries(target.searchParams), ...settings.query };
  const shared = settings.forceNew || settings.multiplex === false ? undefined : managers.get(target.origin);
  const fresh = shared === undefined || shared.sockets.has(namespace);
  const manager = fresh ? new Manager(target.origin, { ...settings, query }) : shared;
  if (!managers.has(target.origin)) managers.set(target.origin, manager);
  const socket = manager.socket(namespace);
  if (settings.auth !== undefined) socket.auth = settings.auth;
  if (settings.autoConnect !== false) socket.connect();
  return socket;
}

io.connect = io;
io.io = io;
io.Manager = Manager;
io.Socket = Socket;
io.protocol = 5;
