/* Event listeners by name, like Node's EventEmitter and Socket.IO's clients. */

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

  /** Call the listeners. If one throws, the others are still called. */
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
