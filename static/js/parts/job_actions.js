/* What the buttons in a list do. Clicks are caught once, on the list; only what destroys asks first. */

import { ask } from "../lib/api.js";

const WORDS = { pause: "Pausing", cancel: "Cancelling", discard: "Cancelling", retry: "Retrying", promote: "Starting", remove: "Removing" };

/** Ask "really?" in the page's dialog; resolves to true or false. */
export function confirmed(text, word = "Remove") {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm_text").textContent = text;
  dialog.querySelector("[data-part=yes]").textContent = word;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Do one act on one job; throws ApiError. */
export function act(id, name, body) {
  return ask("POST", `/monitor/job/${encodeURIComponent(id)}/${name}`, body ?? {});
}

/** Wire the buttons of a list. `say(text, bad)` shows what came of it. */
export function wireActs(list, say, after = () => {}) {
  list.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-action]");
    const line = button?.closest("[data-id]");
    if (!button || !line || !(button.dataset.action in WORDS)) return;
    const { id } = line.dataset;
    const { action } = button.dataset;
    if (action === "remove" && !(await confirmed(`Remove job ${id}? Its record and log are deleted.`))) return;
    if (action === "discard" && !(await confirmed(`Cancel job ${id} and delete what it has fetched so far?`, "Delete"))) return;
    button.disabled = true;
    try {
      await (action === "discard" ? act(id, "cancel", { keep_partial: false }) : act(id, action));
      say("");
      after(action, id);
    } catch (error) {
      say(`${WORDS[action]} job ${id} did not work: ${error.message}.`, true);
    } finally {
      button.disabled = false;
    }
  });
}

/** Return a function that shows a sentence in an element, as an error if told so. */
export function sayIn(element) {
  return (text, bad = false) => {
    element.textContent = text;
    element.classList.toggle("is_bad", bad);
  };
}
