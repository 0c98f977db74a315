/* Puts rows into a <ul>, in order, touching only what changed. */

import { JobRow } from "./job_row.js";

export class ListView {
  /** Take over the lines that the server sent: each bears its row as JSON. */
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
    for (const [id, view] of this.views) {
      if (wanted.has(id)) continue;
      // The keyboard must not fall to the top of the page because a row went away.
      if (view.element.contains(document.activeElement)) this.element.focus();
      view.element.remove();
      this.views.delete(id);
    }
    let place = this.element.firstElementChild;
    for (const row of rows) {
      let view = this.views.get(row.id);
      if (view === undefined) {
        view = new JobRow(row);
        this.views.set(row.id, view);
      } else if (view.row !== row) view.update(row);
      if (view.element === place) place = place.nextElementSibling;
      else this.element.insertBefore(view.element, place);
    }
  }

  tick(now) {
    for (const view of this.views.values()) view.tick(now);
  }
}
