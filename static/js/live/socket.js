/* A small Socket.IO 5 client, with events, acknowledgements and namespaces; no binary. Our own
   pages use it as a module. Pages written for a Node server get it as the classic script /socket.io/socket.io.js, which
   the server assembles from this file and its imports (kue/web/live/client_script.py). */

import { Emitter } from "./emitter.js";
import { Engine } from "./engine.js";

const LOCAL_EVENTS = new Set(["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]);

/** The connection to one server, with one socket per namespace. */
export class Manager extends Engine {
  socket(namespace) {
    if (!this.sockets.has(namespace)) this.sockets.set(namespace, new Socket(this, namespace));
    return this.sockets.get(namespace);
  }
}

/** One namespace of a connection, returned by `io()`. */
export class Socket extends Emitter {
  constructor(manager, namespace) {
    super();
    this.io = manager;
    this.nsp = namespace;
    this.id = undefined;
    this.connected = false;
    this.active = false;
    this.auth = manager.options.auth;
    this.buffered = [];
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
    if (this.io.state === "open") this.sendConnect();
    else this.io.open();
    return this;
  }

  open() { return this.connect(); }

  disconnect() {
    this.active = false;
    if (this.connected) {
      this.#sendPacket(1, null);
      this.onClose("io client disconnect");
    }
    if (![...this.io.sockets.values()].some((socket) => socket.active)) this.io.close();
    return this;
  }

  close() { return this.disconnect(); }

  /** Send an event. A function as the last argument receives the acknowledgement; with `timeout(ms)`, `(error, …)`. */
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
        this.buffered = this.buffered.filter((packet) => packet.id !== id);
        answer(new Error("operation has timed out"));
      }, timeout);
      this.acks.set(id, entry);
    }
    const packet = { id, text: JSON.stringify([name, ...args]) };
    if (this.connected) this.#sendPacket(2, packet.id, packet.text);
    else if (!volatile) this.buffered.push(packet);
    return this;
  }

  send(...args) { return this.emit("message", ...args); }

  emitWithAck(name, ...args) {
    const timed = this.flags.timeout !== undefined;
    return new Promise((resolve, reject) => {
      this.emit(name, ...args, timed ? (error, value) => (error ? reject(error) : resolve(value)) : resolve);
    });
  }

  sendConnect() {
    const send = (auth) => this.#sendPacket(0, null, auth === undefined ? "" : JSON.stringify(auth));
    if (typeof this.auth === "function") this.auth(send);
    else send(this.auth);
  }

  onPacket(kind, id, data) {
    if (kind === 0) {
      this.id = data?.sid;
      this.connected = true;
      const buffered = this.buffered;
      this.buffered = [];
      this.fire("connect");
      for (const packet of buffered) this.#sendPacket(2, packet.id, packet.text);
    } else if (kind === 1) {
      this.active = false;
      this.onClose("io server disconnect");
    } else if (kind === 2) this.#onEvent(id, data);
    else if (kind === 3) this.#onAck(id, data);
    else if (kind === 4) {
      const error = new Error(data?.message || "connection refused");
      error.data = data?.data;
      this.active = false;
      this.fire("connect_error", error);
    }
  }

  onClose(reason) {
    if (!this.connected) return;
    this.connected = false;
    this.id = undefined;
    for (const [id, entry] of this.acks) {
      if (!entry.withError || this.buffered.some((packet) => packet.id === id)) continue;
      clearTimeout(entry.timer);
      this.acks.delete(id);
      entry.answer(new Error("socket has been disconnected"));
    }
    this.fire("disconnect", reason);
  }

  #onEvent(id, data) {
    if (!Array.isArray(data)) return;
    const args = [...data];
    if (id !== null) args.push((...answer) => this.#sendPacket(3, id, JSON.stringify(answer)));
    for (const listener of this.anyListeners) listener(...args);
    this.fire(...args);
  }

  #onAck(id, data) {
    const entry = this.acks.get(id);
    if (entry === undefined) return;
    this.acks.delete(id);
    clearTimeout(entry.timer);
    if (entry.withError) entry.answer(null, ...data);
    else entry.answer(...data);
  }

  #sendPacket(kind, id, text = "") {
    const namespace = this.nsp === "/" ? "" : this.nsp + ",";
    this.io.send(kind + namespace + (id === null ? "" : id) + text);
  }
}

const managers = new Map();

/** Connect to a server: `io()`, `io(url)`, `io(url, options)`, `io(options)`. The URL's path is the namespace. */
export function io(url, options) {
  if (typeof url === "object" && url !== null) [url, options] = [undefined, url];
  const settings = { path: io.defaultPath, ...options };
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

/** The default path of servers. */
io.defaultPath = "/socket.io/";
io.connect = io;
io.io = io;
io.Manager = Manager;
io.Socket = Socket;
io.protocol = 5;
