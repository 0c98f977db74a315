/* Selected rows: checkboxes, shift-click for a range, and one action on all of them. */

import { count } from "../lib/format.js";
import { config } from "../lib/page_config.js";

/** The states that each action applies to. */
const STATES = {};
for (const [state, actions] of Object.entries(config.bulk_actions)) {
  for (const [action] of actions) (STATES[action] ||= new Set()).add(state);
}

export class Selection {
  /** `list` is a ListView whose rows have checkboxes; `run(action, ids)` runs an action on jobs. */
  constructor(list, run) {
    this.list = list;
    this.ids = new Set();
    this.last = null;
    this.bar = document.getElementById("selection");
    if (!this.bar) return;
    list.selection = this;
    for (const view of list.views.values()) view.showPicked(false);
    list.element.addEventListener("click", (event) => {
      if (event.target.matches("[data-part=pick]")) this.#pick(event.target.closest(".job"), event.target.checked, event.shiftKey);
    });
    list.element.addEventListener("pick", (event) => {
      const box = event.target.querySelector("[data-part=pick]");
      if (box) this.#pick(event.target, !box.checked, event.detail.range);
    });
    document.addEventListener("unpick", () => this.clear());
    this.bar.addEventListener("click", (event) => {
      const action = event.target.closest("[data-selection]")?.dataset.selection;
      if (action === "clear") this.clear();
      else if (action) run(action, this.#of(action)).then((done) => done && this.clear());
    });
  }

  has(id) {
    return this.ids.has(id);
  }

  clear() {
    this.ids.clear();
    this.update();
  }

  /** Update the selection bar after rows were added, removed or changed state. */
  update() {
    if (!this.bar) return;
    for (const id of this.ids) if (!this.list.views.has(id)) this.ids.delete(id);
    for (const [id, view] of this.list.views) view.showPicked(this.ids.has(id));
    this.bar.hidden = this.ids.size === 0;
    this.bar.querySelector("[data-part=number]").textContent = `${count(this.ids.size)} selected`;
    for (const button of this.bar.querySelectorAll("[data-selection]")) {
      if (button.dataset.selection !== "clear") button.hidden = this.#of(button.dataset.selection).length === 0;
    }
  }

  /** Return the ids of the selected jobs that an action applies to. */
  #of(action) {
    return [...this.ids].filter((id) => STATES[action]?.has(this.list.views.get(id)?.row.state));
  }

  #pick(line, on, range) {
    const lines = [...this.list.element.children];
    const from = range && this.last?.isConnected ? lines.indexOf(this.last) : -1;
    const to = lines.indexOf(line);
    const [low, high] = from < 0 ? [to, to] : [Math.min(from, to), Math.max(from, to)];
    const byLine = new Map([...this.list.views].map(([id, view]) => [view.element, id]));
    for (const each of lines.slice(low, high + 1)) {
      if (on) this.ids.add(byLine.get(each));
      else this.ids.delete(byLine.get(each));
    }
    this.last = line;
    this.update();
  }
}
