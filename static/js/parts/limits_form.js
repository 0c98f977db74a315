/* The form with the limits of downloads. */

import { sayIn } from "./job_actions.js";
import { ask } from "../lib/api.js";

const form = document.getElementById("limits_form");
const say = sayIn(document.getElementById("limits_message"));
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const now = await ask("POST", "/monitor/downloads/limits", Object.fromEntries(new FormData(form)));
    for (const [name, value] of Object.entries(now)) form.elements[name].value = value;
    say("Changed.");
  } catch (error) {
    say(`Not changed: ${error.message}.`, true);
  }
});
