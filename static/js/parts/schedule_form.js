/* The form to create or change a schedule, with a preview of its next times, computed by the server. */

import { request } from "../lib/api.js";
import { sayIn } from "./job_actions.js";

/** Milliseconds after the last key press until the preview is requested. */
const TYPING_MS = 250;
const UNITS = [["w", 604_800_000], ["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000], ["ms", 1]];
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
/** Members sent as typed; empty ones are not sent. */
const TEXTS = ["name", "type", "timezone", "overlap", "missed", "jitter", "start", "end"];

/** 300000 -> "5m", in the largest exact unit. */
function duration(ms) {
  const [unit, size] = UNITS.find(([, each]) => ms % each === 0);
  return ms ? `${ms / size}${unit}` : "";
}

/** Epoch ms -> "2026-01-31T14:03:22" in a time zone, for an input element. */
function inZone(ms, zone) {
  if (ms === null) return "";
  return new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" }).format(ms).replace(" ", "T");
}

/** Epoch ms -> "Sat 2026-01-31 14:03:22" in a time zone. */
function dayAndTime(ms, zone) {
  const day = new Intl.DateTimeFormat("en", { timeZone: zone, weekday: "short" }).format(ms);
  return `${day} ${inZone(ms, zone).replace("T", " ")}`;
}

function parsed(text, what) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${what} is not valid JSON`);
  }
}

export class ScheduleForm {
  #form;
  #saved;
  #say;
  #timer = 0;
  #asked = 0;
  #shownData = null;

  /** `saved(name)` is called after each save. */
  constructor(form, saved) {
    this.#form = form;
    this.#saved = saved;
    this.#say = sayIn(document.getElementById("form_message"));
    form.elements.timezone.value = HERE;
    form.addEventListener("input", () => this.#changed());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save();
    });
    document.getElementById("form_cancel").addEventListener("click", () => this.#reset());
    this.#showRule();
  }

  /** Fill the form with a schedule from the server. */
  edit(schedule) {
    const { elements } = this.#form;
    const zone = schedule.timezone || "UTC";
    this.#form.reset();
    for (const name of ["name", "type", "overlap", "missed"]) elements[name].value = schedule[name];
    elements.rule.value = ["cron", "every", "at"].find((each) => schedule[each] !== null);
    elements.cron.value = schedule.cron ?? "";
    elements.every.value = schedule.every ? duration(schedule.every) : "";
    elements.jitter.value = duration(schedule.jitter);
    elements.limit.value = schedule.limit ?? "";
    elements.timezone.value = zone;
    for (const name of ["at", "start", "end"]) elements[name].value = inZone(schedule[name], zone);
    elements.data.value = JSON.stringify(schedule.data, null, 2);
    this.#shownData = elements.data.value; // without secrets: sent only if it was changed
    elements.options.value = Object.keys(schedule.options).length ? JSON.stringify(schedule.options) : "";
    elements.name.readOnly = true;
    this.#title(`Edit ${schedule.name}`, true);
    this.#showRule();
    this.#preview();
    document.getElementById("form_heading").focus();
    this.#form.scrollIntoView({ block: "nearest" });
  }

  #title(text, editing) {
    document.getElementById("form_heading").textContent = text;
    document.getElementById("form_cancel").hidden = !editing;
  }

  #reset() {
    this.#form.reset();
    this.#form.elements.name.readOnly = false;
    this.#form.elements.timezone.value = HERE;
    this.#shownData = null;
    this.#title("Add a schedule", false);
    this.#say("");
    this.#showRule();
    this.#showTimes([]);
  }

  #showRule() {
    const rule = this.#form.elements.rule.value;
    for (const each of this.#form.querySelectorAll("[data-rule]")) each.hidden = each.dataset.rule !== rule;
  }

  /** Return the request body for the form's values. Throws Error with a message. */
  #body() {
    const { elements } = this.#form;
    const body = Object.fromEntries(TEXTS.map((name) => [name, elements[name].value.trim()]).filter(([, value]) => value));
    const rule = elements.rule.value;
    body[rule] = elements[rule].value.trim();
    body.timezone ||= "UTC";
    if (elements.limit.value.trim()) body.limit = Number(elements.limit.value);
    const data = elements.data.value;
    if (data !== this.#shownData) body.data = data.trim() ? parsed(data, "Data") : {};
    if (elements.options.value.trim()) body.options = parsed(elements.options.value, "Job options");
    return body;
  }

  #changed() {
    this.#showRule();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#preview(), TYPING_MS);
  }

  async #preview() {
    this.#asked += 1;
    const asked = this.#asked;
    const { rule } = this.#form.elements;
    if (!this.#form.elements[rule.value].value.trim()) {
      this.#showTimes([]);
      return;
    }
    try {
      const body = this.#body();
      const { upcoming } = await request("POST", "/schedules/preview", { ...body, name: body.name || "new", type: body.type || "new" });
      if (asked !== this.#asked) return;
      this.#showTimes(upcoming, body.timezone);
      this.#say(upcoming.length ? "" : "There is no further time.", !upcoming.length);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#showTimes([]);
      this.#say(`${error.message}.`, true);
    }
  }

  #showTimes(times, zone = "UTC") {
    const heading = document.getElementById("preview_heading");
    heading.hidden = !times.length;
    heading.textContent = times.length === 1 ? `Next time (${zone})` : `Next ${times.length} times (${zone})`;
    document.getElementById("preview").replaceChildren(...times.map((ms) => {
      const item = document.createElement("li");
      item.textContent = dayAndTime(ms, zone);
      return item;
    }));
  }

  async #save() {
    try {
      const body = this.#body();
      await request("POST", "/schedules", body);
      this.#reset();
      this.#saved(body.name);
    } catch (error) {
      this.#say(`Not saved: ${error.message}.`, true);
    }
  }
}
