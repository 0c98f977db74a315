/* Acts on a whole list: counted first, undoable until they begin, carried out by the server in chunks. */

import { confirmed, sayIn } from "./job_actions.js";
import { ask, get } from "../lib/api.js";
import { count } from "../lib/format.js";

const POLL_MS = 500;
const DOING = { retry: "Retrying", remove: "Removing", promote: "Starting" };
const DONE = { retry: "Retried", remove: "Removed", promote: "Started" };

export function wireBulk(bar) {
  if (!bar) return;
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
          say(`${DOING[act]} ${count(now.total)} jobs in ${Math.ceil(now.starts_in_ms / 1000)} s.`);
        } else if (now.phase === "running") {
          stop.textContent = "Stop";
          say(`${DOING[act]}: ${count(now.done + now.skipped)} of ${count(now.total)}.`);
        } else {
          const skipped = now.skipped ? `, ${count(now.skipped)} had moved on` : "";
          const words = { done: `${DONE[act]} ${count(now.done)}${skipped}.`, undone: "Undone: nothing was changed." };
          say(words[now.phase] || `Stopped after ${count(now.done)} of ${count(now.total)}: ${now.error || "as you wished"}.`, now.phase === "failed");
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
    } catch (error) {
      say(`It is not known how far it got: ${error.message}.`, true);
    } finally {
      running = null;
      busy(false);
    }
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
        say("There is no such job.");
        return;
      }
      if (act === "remove" && !(await confirmed(`Remove ${count(total)} jobs? Their records and logs are deleted.`))) return;
      const { id } = await ask("POST", "/monitor/bulk", filter);
      await follow(id, act);
    } catch (error) {
      say(`Nothing was changed: ${error.message}.`, true);
    }
  });
  stop.addEventListener("click", () => running !== null && ask("DELETE", `/monitor/bulk/${running}`).catch(() => {}));
}
