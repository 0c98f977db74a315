/* The buttons of a list. Clicks are handled once, on the list; destructive actions need confirmation. */

import { request } from "../lib/api.js";

const WORDS = { pause: "Suspending", cancel: "Cancelling", discard: "Cancelling", retry: "Retrying", promote: "Starting", remove: "Removing" };

/** Ask for confirmation in the page's dialog; resolves to true or false. */
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

/** Run one action on one job; throws ApiError. */
export function runAction(id, name, body) {
  return request("POST", `/monitor/job/${encodeURIComponent(id)}/${name}`, body ?? {});
}

/** Wire the buttons of a list. `say(text, bad)` shows the outcome. */
export function wireActions(list, say, after = () => {}) {
  list.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-action]");
    const line = button?.closest("[data-id]");
    if (!button || !line || !(button.dataset.action in WORDS)) return;
    const { id } = line.dataset;
    const { action } = button.dataset;
    if (action === "remove" && !(await confirmed(`Remove job ${id}? Its record and log are deleted.`))) return;
    if (action === "discard" && !(await confirmed(`Cancel job ${id} and delete its partial file?`, "Delete"))) return;
    button.disabled = true;
    try {
      await (action === "discard" ? runAction(id, "cancel", { keep_partial: false }) : runAction(id, action));
      say("");
      after(action, id);
    } catch (error) {
      say(`${WORDS[action]} job ${id} failed: ${error.message}.`, true);
    } finally {
      button.disabled = false;
    }
  });
}

/** Return a function `(text, bad)` that shows a message in an element, as an error if `bad`. */
export function sayIn(element) {
  return (text, bad = false) => {
    element.textContent = text;
    element.classList.toggle("is_bad", bad);
  };
}
