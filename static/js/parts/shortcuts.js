/* Keyboard shortcuts of every page, listed in a dialog. A visitor can turn them off there. */

const OFF = "kue shortcuts off";
/** Milliseconds within which the second key must follow "g". */
const SEQUENCE_MS = 1500;

const dialog = document.getElementById("shortcuts");
const button = document.getElementById("shortcuts_button");
const enabled = document.getElementById("shortcuts_on");
let sequenceUntil = 0;

function stored() {
  try {
    return localStorage.getItem(OFF) === null;
  } catch {
    return true; // the browser blocks storage
  }
}

function store(on) {
  try {
    if (on) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } catch {
    // applies to this page only
  }
}

/** Move the focus by one job. Without a focused job, start at the first visible one. */
function step(by) {
  const links = [...document.querySelectorAll(".jobs:not(.solo) > .job > a.job_id")];
  if (!links.length) return;
  const at = links.findIndex((link) => link.closest(".job").contains(document.activeElement));
  const first = Math.max(0, links.findIndex((link) => link.getBoundingClientRect().bottom > 0));
  const next = links[at < 0 ? first : Math.min(links.length - 1, Math.max(0, at + by))];
  next.focus();
  next.closest(".job").scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "?": () => dialog.showModal(),
  "/": () => document.querySelector(".find input")?.focus(),
  j: () => step(1),
  k: () => step(-1),
  g: () => { sequenceUntil = Date.now() + SEQUENCE_MS; },
  x: (event) => document.activeElement?.closest(".job")?.dispatchEvent(new CustomEvent("pick", { bubbles: true, detail: { range: event.shiftKey } })),
  Escape: () => document.dispatchEvent(new CustomEvent("unpick")),
};

if (dialog) {
  enabled.checked = stored();
  enabled.addEventListener("change", () => store(enabled.checked));
  button.hidden = false;
  button.addEventListener("click", () => dialog.showModal());
  document.addEventListener("keydown", (event) => {
    if (!enabled.checked || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea, dialog, [contenteditable]")) return;
    const key = event.key === "X" ? "x" : event.key;
    if (Date.now() < sequenceUntil) {
      sequenceUntil = 0;
      const link = [...document.querySelectorAll(".tabs [data-key]")].find((each) => each.dataset.key === key);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    if (!(key in KEYS)) return;
    if (key !== "Escape") event.preventDefault();
    KEYS[key](event);
  });
}
