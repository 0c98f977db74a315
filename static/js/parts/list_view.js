/* Renders rows in a <ul>, in order, updating only what changed. */

import { JobRow } from "./job_row.js";

export class ListView {
  /** Use the rows rendered by the server, which contain their data as JSON. */
  constructor(element) {
    this.element = element;
    this.views = new Map();
    for (const line of element.querySelectorAll(":scope > [data-row]")) {
      const row = JSON.parse(line.dataset.row);
      line.removeAttribute("data-row");
      this.views.set(row.id, new JobRow(row, line));
    }
  }

  rows() {
    return [...this.views.values()].map((view) => view.row);
  }

  show(rows) {
    const wanted = new Set(rows.map((row) => row.id));
    const spare = [];
    const free = new Set();
    for (const [id, view] of this.views) {
      if (wanted.has(id)) continue;
      this.views.delete(id);
      const { element } = view;
      const focused = element.contains(document.activeElement);
      // Removing a row must not move the focus to the top of the page.
      if (focused) this.element.focus();
      // The row under the pointer must not become another job's row between mouse down and mouse up.
      if (focused || element.matches(":hover")) element.remove();
      else {
        spare.push(view);
        free.add(element);
      }
    }
    const past = (element) => {
      while (element && free.has(element)) element = element.nextElementSibling;
      return element;
    };
    let place = past(this.element.firstElementChild);
    for (const row of rows) {
      let view = this.views.get(row.id);
      if (view === undefined) {
        // Reuse elements: on a busy queue most rows change with each frame.
        view = spare.pop();
        if (view === undefined) view = new JobRow(row);
        else {
          free.delete(view.element);
          view.update(row);
        }
        this.views.set(row.id, view);
      } else if (view.row !== row) view.update(row);
      if (view.element === place) place = past(place.nextElementSibling);
      else this.element.insertBefore(view.element, place);
    }
    for (const view of spare) view.element.remove();
    this.element.classList.toggle("is_empty", rows.length === 0);
  }

  tick(now) {
    for (const view of this.views.values()) view.tick(now);
  }
}
