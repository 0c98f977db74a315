/* JSON values: folded, highlighted, copyable. The server's <pre> stays in the page, hidden, as the source. */

/** Number of entries, and depth, from which arrays and objects are initially folded. */
const FOLD_ENTRIES = 20;
const FOLD_DEPTH = 3;
/** Number of characters from which the text is shown unformatted. */
const TREE_MAX = 50_000;
const COPIED_MS = 1500;

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Number of characters up to which an array of plain values stays on one line. */
const INLINE_CHARS = 60;

const CLASSES = { string: "json_string", number: "json_number", boolean: "json_word", object: "json_word" };

/** Return the lines of a value, with `lead` before and `end` after it. */
function tree(value, lead, end, depth) {
  if (value === null || typeof value !== "object" || Object.keys(value).length === 0) {
    const line = make("div", "json_line");
    line.append(...lead, make("span", CLASSES[typeof value], JSON.stringify(value)), end);
    return line;
  }
  const isList = Array.isArray(value);
  const entries = Object.entries(value);
  if (isList && value.every((each) => each === null || typeof each !== "object") && JSON.stringify(value).length <= INLINE_CHARS) {
    const line = make("div", "json_line");
    line.append(...lead, "[");
    value.forEach((each, at) => line.append(at ? ", " : "", make("span", CLASSES[typeof each], JSON.stringify(each))));
    line.append("]" + end);
    return line;
  }
  const details = make("details", "json_fold");
  details.open = depth < FOLD_DEPTH && entries.length <= FOLD_ENTRIES;
  const summary = make("summary", "json_line");
  const size = `${entries.length.toLocaleString("en")} ${isList ? "item" : "member"}${entries.length === 1 ? "" : "s"}`;
  summary.append(...lead, isList ? "[" : "{", make("span", "json_size", ` ${size} `), make("span", "json_closed", (isList ? "]" : "}") + end));
  const body = make("div", "json_body");
  entries.forEach(([name, each], at) => {
    const key = isList ? [] : [make("span", "json_key", JSON.stringify(name)), ": "];
    body.append(tree(each, key, at < entries.length - 1 ? "," : "", depth + 1));
  });
  details.append(summary, body, make("div", "json_line", (isList ? "]" : "}") + end));
  return details;
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", "unseen"); // without TLS, navigator.clipboard is not available
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

/** Build the view of one <pre data-json>. */
function build(pre) {
  const view = make("div", "json");
  view.dataset.jsonOf = pre.dataset.keep;
  view.source = pre.textContent;
  const button = make("button", "small json_copy", "Copy");
  button.type = "button";
  button.setAttribute("aria-label", `Copy ${pre.dataset.keep}`);
  button.addEventListener("click", async () => {
    await copy(view.source);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
  });
  view.append(button);
  let value;
  try {
    value = view.source.length <= TREE_MAX ? JSON.parse(view.source) : undefined;
  } catch {
    value = undefined; // truncated, or too long
  }
  if (value !== undefined) {
    const box = make("div", "json_tree");
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-labelledby", pre.getAttribute("aria-labelledby"));
    box.append(tree(value, [], "", 0));
    view.append(box);
  }
  return view;
}

/** Show the JSON values below `root`. `old`: the views of the part it replaces; those with the same text are kept. */
export function showJson(root, old = []) {
  for (const pre of root.querySelectorAll("pre[data-json]")) {
    const kept = old.find((view) => view.dataset.jsonOf === pre.dataset.keep && view.source === pre.textContent);
    const view = kept || build(pre);
    pre.before(view);
    pre.hidden = view.querySelector(".json_tree") !== null;
  }
}

/** Return the views below `root`, for `showJson`. */
export const jsonViews = (root) => [...root.querySelectorAll(".json")];
