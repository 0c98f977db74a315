/* Many downloads at once: lines pasted into the URL field or a dropped text file, checked by the server, started together. */

import { request } from "../lib/api.js";

const CHECK_MS = 300;
const MAX_FILE_BYTES = 4_000_000;
/** Examples shown by "Several URLs" while the URL is that of the sample file. */
const EXAMPLES = 3;
/** Fields that only make sense for a single file. */
const ONE_FILE = new Set(["url", "title", "filename", "sha256"]);

function options(form) {
  const found = {};
  for (const [name, value] of new FormData(form)) {
    if (value === "" || ONE_FILE.has(name)) continue;
    if (name === "delay_s") found.delay = Math.round(Number(value) * 1000);
    else found[name] = value;
  }
  return found;
}

const plural = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

function summary(answer) {
  const parts = [plural(answer.usable, "URL")];
  if (answer.duplicates) parts.push(`${plural(answer.duplicates, "duplicate")} skipped`);
  if (answer.invalid) parts.push(`${plural(answer.invalid, "line")} invalid`);
  return parts.join(", ");
}

export function wireStartList() {
  const part = document.getElementById("start_list");
  if (!part) return;
  const form = document.getElementById("start_form");
  const url = document.getElementById("start_url");
  const text = document.getElementById("start_list_text");
  const message = document.getElementById("start_list_summary");
  const problems = document.getElementById("start_list_problems");
  const start = document.getElementById("start_list_start");
  const archive = document.getElementById("start_list_archive");
  const opener = document.getElementById("start_list_open");
  let timer = 0;
  let latest = 0;

  function say(words, bad = false) {
    message.textContent = words;
    message.classList.toggle("is_bad", bad);
  }

  async function check() {
    const number = ++latest;
    start.disabled = true;
    try {
      const answer = await request("POST", "/monitor/downloads/list", { text: text.value, options: options(form) });
      if (number !== latest) return;
      say(summary(answer), answer.invalid > 0);
      problems.replaceChildren(
        ...answer.problems.map(({ line, url: shown, error }) => {
          const item = document.createElement("li");
          item.textContent = `Line ${line}: ${shown}: ${error}`;
          return item;
        }),
      );
      start.textContent = `Start ${plural(answer.usable, "job")}`;
      start.disabled = answer.usable === 0;
    } catch (error) {
      if (number === latest) say(`Not checked: ${error.message}`, true);
    }
  }

  function open(lines) {
    part.hidden = false;
    opener.hidden = true;
    text.value = lines;
    text.focus();
    check();
  }

  opener.hidden = false;
  opener.addEventListener("click", () => {
    const first = url.value.trim();
    const more = first && url.value === url.defaultValue ? EXAMPLES - 1 : 0;
    open([first, ...Array.from({ length: more }, (_, number) => `${first}?${number + 2}`)].join("\n"));
  });
  url.addEventListener("paste", (event) => {
    const pasted = event.clipboardData.getData("text/plain");
    if (pasted.split(/\r?\n/).filter((line) => line.trim()).length < 2) return;
    event.preventDefault();
    open(pasted);
  });
  const hasFile = (event) => [...event.dataTransfer.types].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (hasFile(event)) event.preventDefault();
  });
  document.addEventListener("drop", async (event) => {
    const file = event.dataTransfer.files[0];
    if (!file) return;
    event.preventDefault();
    if (file.size > MAX_FILE_BYTES) {
      open("");
      say("The file is too large for a list of URLs (4 MB at most).", true);
    } else open(await file.text());
  });
  text.addEventListener("input", () => {
    clearTimeout(timer);
    start.disabled = true;
    timer = setTimeout(check, CHECK_MS);
  });
  document.getElementById("start_list_close").addEventListener("click", () => {
    part.hidden = true;
    opener.hidden = false;
    url.focus();
  });
  start.addEventListener("click", async () => {
    start.disabled = true;
    const wanted = { text: text.value, options: options(form), start: true, archive: archive.checked };
    try {
      const answer = await request("POST", "/monitor/downloads/list", wanted, { timeoutMs: 60000 });
      text.value = "";
      problems.replaceChildren();
      const then = answer.archive ? ` Job ${answer.archive} then archives the files.` : "";
      say(`Started ${plural(answer.ids.length, "job")}.${then}`);
    } catch (error) {
      say(`Not started: ${error.message}`, true);
      start.disabled = false;
    }
  });
}
