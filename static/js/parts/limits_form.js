/* The form with the download limits. */

import { sayIn } from "./job_actions.js";
import { request } from "../lib/api.js";

const form = document.getElementById("limits_form");
const say = sayIn(document.getElementById("limits_message"));
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const now = await request("POST", "/monitor/downloads/limits", Object.fromEntries(new FormData(form)));
    for (const [name, value] of Object.entries(now)) form.elements[name].value = value;
    say("Limits saved.");
  } catch (error) {
    say(`Not saved: ${error.message}.`, true);
  }
});
