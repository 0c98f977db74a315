/* Engine.IO by long polling, for networks that block WebSockets: with the part of WebSocket's interface that the engine uses. */

const SEPARATOR = "\x1e";

export class Polling {
  #sid = null;
  #waiting = [];
  #sending = false;
  #ended = new AbortController();

  /** `url`: a URL object with the query of the handshake. Starts immediately. */
  constructor(url) {
    this.url = url;
    this.readyState = 0;
    this.onmessage = this.onclose = null;
    this.#receive();
  }

  send(text) {
    this.#waiting.push(text);
    this.#flush();
  }

  close() {
    if (this.#ended.signal.aborted) return;
    const leave = this.readyState === 1;
    this.#end();
    if (leave) fetch(this.url, { method: "POST", body: "1", keepalive: true }).catch(() => {});
  }

  async #receive() {
    try {
      while (!this.#ended.signal.aborted) {
        const response = await fetch(this.url, { cache: "no-store", signal: this.#ended.signal });
        if (!response.ok) break;
        for (const packet of (await response.text()).split(SEPARATOR)) this.#onPacket(packet);
      }
    } catch {
      // the server is unreachable, or this was closed
    }
    this.#end();
  }

  #onPacket(packet) {
    if (this.#ended.signal.aborted) return;
    if (this.#sid === null && packet[0] === "0") {
      this.#sid = JSON.parse(packet.slice(1)).sid;
      this.url.searchParams.set("sid", this.#sid);
      this.readyState = 1;
    }
    this.onmessage?.({ data: packet });
  }

  async #flush() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      while (this.#waiting.length && !this.#ended.signal.aborted) {
        const body = this.#waiting.splice(0).join(SEPARATOR);
        const response = await fetch(this.url, { method: "POST", body, signal: this.#ended.signal });
        if (!response.ok) this.#end();
      }
    } catch {
      this.#end();
    }
    this.#sending = false;
  }

  #end() {
    if (this.#ended.signal.aborted) return;
    this.readyState = 3;
    this.#ended.abort();
    this.onclose?.();
  }
}
