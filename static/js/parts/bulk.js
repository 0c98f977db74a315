/* Bulk actions: counted first, undoable until they start, run by the server in chunks. */

import { confirmed, sayIn } from "./job_actions.js";
import { request, get } from "../lib/api.js";
import { count } from "../lib/format.js";

const POLL_MS = 500;
const DOING = { retry: "Retrying", remove: "Removing", promote: "Starting" };
const DONE = { retry: "Retried", remove: "Removed", promote: "Started" };

/** Wire the buttons of a bulk bar; return `(action, ids)` for an action on selected jobs. */
export function wireBulk(bar) {
  if (!bar) return null;
  const say = sayIn(document.getElementById("bulk_message"));
  const stop = document.getElementById("bulk_stop");
  let running = null;

  function busy(yes) {
    for (const button of bar.querySelectorAll("[data-bulk]")) {
      button.dataset.busy = yes ? "yes" : "no";
      button.disabled = yes;
    }
    stop.hidden = !yes;
  }

  async function follow(id, act) {
    running = id;
    busy(true);
    try {
      for (;;) {
        const now = await get(`/monitor/bulk/${id}`);
        if (now.phase === "waiting") {
          stop.textContent = "Undo";
          say(`${DOING[act]} ${count(now.total)} job${now.total === 1 ? "" : "s"} in ${Math.ceil(now.starts_in_ms / 1000)} s.`);
        } else if (now.phase === "running") {
          stop.textContent = "Stop";
          say(`${DOING[act]}: ${count(now.done + now.skipped)} of ${count(now.total)}.`);
        } else {
          const skipped = now.skipped ? `, ${count(now.skipped)} skipped (state changed)` : "";
          const words = { done: `${DONE[act]} ${count(now.done)}${skipped}.`, undone: "Undone. Nothing was changed." };
          say(words[now.phase] || `Stopped after ${count(now.done)} of ${count(now.total)}${now.error ? `: ${now.error}` : ""}.`, now.phase === "failed");
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    } catch (error) {
      say(`Lost track of the action: ${error.message}.`, true);
    } finally {
      running = null;
      busy(false);
    }
  }

  /** Confirm a removal, then start the action and show its progress. Resolves to whether it was started. */
  async function start(filter, total) {
    const jobs = total === 1 ? "1 job? Its record and log are" : `${count(total)} jobs? Their records and logs are`;
    if (filter.act === "remove" && !(await confirmed(`Remove ${jobs} deleted.`))) return false;
    const { id } = await request("POST", "/monitor/bulk", filter);
    follow(id, filter.act);
    return true;
  }

  bar.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-bulk]");
    if (!button || running !== null) return;
    const act = button.dataset.bulk;
    const { state, type, q } = bar.dataset;
    const filter = q ? { act, q } : { act, state, type };
    try {
      const { total } = await get(`/monitor/bulk/preview?${new URLSearchParams(filter)}`);
      if (total === 0) {
        say("No matching jobs.");
        return;
      }
      await start(filter, total);
    } catch (error) {
      say(`Not started: ${error.message}.`, true);
    }
  });
  const runSelected = async (act, ids) => {
    if (running !== null || ids.length === 0) return false;
    try {
      return await start({ act, ids: ids.map(String) }, ids.length);
    } catch (error) {
      say(`Not started: ${error.message}.`, true);
      return false;
    }
  };
  stop.addEventListener("click", () => running !== null && request("DELETE", `/monitor/bulk/${running}`).catch(() => {}));
  return runSelected;
}
