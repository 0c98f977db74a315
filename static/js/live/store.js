/* The lists of the home page as data: which rows are in which list. No DOM. */

import { config } from "../lib/page_config.js";
import { FINISHED } from "../parts/job_row.js";

/** Maximum number of rows of each kind; the rest is only counted. */
const CAPS = config.home_rows;
const GROUP = { active: 0, inactive: 1, delayed: 2 };

function group(row) {
  return FINISHED.has(row.state) ? "finished" : row.state;
}

function order(a, b) {
  const groups = (GROUP[a.state] ?? 3) - (GROUP[b.state] ?? 3);
  if (groups) return groups;
  if (a.state === "inactive") return a.priority - b.priority || a.id - b.id;
  if (a.state === "delayed") return (a.promote_at || 0) - (b.promote_at || 0) || a.id - b.id;
  if (FINISHED.has(a.state)) return (b.updated_at || 0) - (a.updated_at || 0) || b.id - a.id;
  return (a.started_at || 0) - (b.started_at || 0) || a.id - b.id;
}

export class HomeStore {
  constructor() {
    this.list = new Map();
    this.recent = new Map();
    this.counts = {};
  }

  /** Apply a complete response. Rows that finished while shown stay, in their current state. */
  replace({ rows, recent, also = [], counts }) {
    const stay = new Map(also.filter((row) => this.list.has(row.id) && FINISHED.has(row.state)).map((row) => [row.id, row]));
    this.list = new Map([...rows.map((row) => [row.id, row]), ...stay]);
    this.recent = new Map(recent.filter((row) => !this.list.has(row.id)).map((row) => [row.id, row]));
    this.counts = counts;
    this.#trim();
  }

  /** Apply one frame of changes. */
  apply({ rows = [], gone = [], counts }) {
    for (const id of gone) {
      this.list.delete(id);
      this.recent.delete(id);
    }
    for (const row of rows) {
      const known = this.list.get(row.id);
      if (known === undefined && FINISHED.has(row.state)) this.recent.set(row.id, row);
      else {
        this.recent.delete(row.id);
        this.list.set(row.id, row);
      }
    }
    if (counts) this.counts = counts;
    this.#trim();
  }

  rows() {
    return [...this.list.values()].sort(order);
  }

  recentRows() {
    return [...this.recent.values()].sort((a, b) => (b.updated_at || 0) - (a.updated_at || 0) || b.id - a.id);
  }

  /** Ids of jobs that finished while shown: the server includes them when the list is fetched. */
  finishedIds() {
    return [...this.list.values()].filter((row) => FINISHED.has(row.state)).map((row) => row.id);
  }

  /** Jobs of a state that are counted but not shown. */
  hidden(state) {
    const shown = [...this.list.values()].filter((row) => row.state === state).length;
    return Math.max(0, (this.counts[state] || 0) - shown);
  }

  /** Return whether more rows could be shown: some finished or changed state, and others could take their place. */
  short() {
    return Object.keys(GROUP).some((state) => {
      const shown = [...this.list.values()].filter((row) => row.state === state).length;
      const counted = this.counts[state] || 0;
      return shown > counted || (shown < counted && shown < CAPS[state] / 2);
    });
  }

  #trim() {
    const held = { active: 0, inactive: 0, delayed: 0, finished: 0 };
    for (const row of this.rows()) {
      const kind = group(row);
      held[kind] = (held[kind] || 0) + 1;
      if (held[kind] > (CAPS[kind] ?? 0)) this.list.delete(row.id);
    }
    for (const row of this.recentRows().slice(CAPS.recent)) this.recent.delete(row.id);
  }
}
