/* The files page: local times, and deletion with confirmation. */

import { confirmed, sayIn } from "../parts/job_actions.js";
import { request } from "../lib/api.js";
import { localTimes } from "../lib/local_times.js";

localTimes();
const say = sayIn(document.getElementById("act_message"));
document.getElementById("files")?.addEventListener("click", async (event) => {
  const line = event.target.closest("[data-action=delete-file]")?.closest("[data-file]");
  if (!line) return;
  const name = line.dataset.file;
  if (!(await confirmed(`Delete the file ${name}?`, "Delete"))) return;
  try {
    await request("DELETE", `/files/${encodeURIComponent(name)}`);
    line.parentElement.focus();
    line.remove();
    say(`Deleted ${name}.`);
  } catch (error) {
    say(`Not deleted: ${error.message}.`, true);
  }
});
