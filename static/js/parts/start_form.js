/* The form that starts a download: sends `start` and shows the response below the button. */

const ANSWER_MS = 15000;

/** Return the filled fields as a `start` request. */
function read(form) {
  const wanted = { type: "download" };
  for (const [name, value] of new FormData(form)) {
    if (value === "") continue;
    if (name === "delay_s") wanted.delay = Math.round(Number(value) * 1000);
    else wanted[name] = value;
  }
  return wanted;
}

export function wireStart(socket) {
  const form = document.getElementById("start_form");
  if (!form) return;
  const message = document.getElementById("start_message");
  const button = document.getElementById("button_start");
  const url = document.getElementById("start_url");
  function say(text, bad = false) {
    message.textContent = text;
    message.classList.toggle("is_bad", bad);
  }
  /** Offer the URL that was probably meant. */
  function offer(suggestion) {
    const use = document.createElement("button");
    use.type = "button";
    use.className = "small";
    use.textContent = "Use this URL";
    use.addEventListener("click", () => {
      url.value = suggestion;
      say("");
      url.focus();
    });
    message.append(" ", use);
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!socket.connected) {
      say("Not connected. Try again once the page is live.", true);
      return;
    }
    button.disabled = true;
    socket.timeout(ANSWER_MS).emit("start", read(form), (error, answer) => {
      button.disabled = false;
      if (error) say("The server did not respond.", true);
      else if (answer.error) {
        say(`Not started: ${answer.error}${/[.?!]$/.test(answer.error) ? "" : "."}`, true);
        if (answer.suggestion) offer(answer.suggestion);
        if (answer.code === "bad_url") url.focus();
      } else say(`Started job ${answer.id}.`);
    });
  });
}
