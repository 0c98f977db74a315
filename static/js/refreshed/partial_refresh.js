/* Pages with a server-rendered part: reload it, replace the old one, and keep the visitor's state. */

import { ApiError } from "../lib/api.js";
import { link } from "../lib/links.js";
import { localTimes } from "../lib/local_times.js";
import { jsonViews, showJson } from "../parts/json_view.js";

/** Fetch a part; returns { html, mark }, or null if its subject was removed. */
export async function fetchPart(path) {
  let response;
  try {
    response = await fetch(link(path), { cache: "no-store", headers: { Accept: "text/html" }, signal: AbortSignal.timeout(15000) });
  } catch {
    throw new ApiError("the server is unreachable", 0);
  }
  if (response.status === 404) return null;
  const [epoch, seq] = (response.headers.get("X-Kue-Mark") || "").split(" ");
  if (!response.ok || !epoch) throw new ApiError(`the server responded with status ${response.status}`, response.status);
  return { html: await response.text(), mark: { epoch, seq: Number(seq) } };
}

const named = (root, name) => [...root.querySelectorAll("[data-keep]")].find((each) => each.dataset.keep === name);

/** Replace a box's content. Elements with data-keep keep their scroll position, focus and a value being typed. */
export function replaceContent(box, html) {
  const kept = [...box.querySelectorAll("[data-keep]")].map((old) => ({
    name: old.dataset.keep, top: old.scrollTop, left: old.scrollLeft, end: old.scrollTop + old.clientHeight >= old.scrollHeight - 8,
    typed: old === document.activeElement && "value" in old && old.type !== "button" ? old.value : null,
  }));
  const open = [...box.querySelectorAll("details[open][data-details]")].map((each) => each.dataset.details);
  const focused = box.contains(document.activeElement) ? document.activeElement : null;
  const focus = focused && { keep: focused.dataset.keep, action: focused.dataset.action };
  const views = jsonViews(box);
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  box.replaceChildren(fresh.content);
  localTimes(box);
  showJson(box, views);
  for (const each of box.querySelectorAll("details[data-details]")) each.open = open.includes(each.dataset.details);
  for (const { name, top, left, end, typed } of kept) {
    const now = named(box, name);
    if (!now) continue;
    now.scrollTop = "follow" in now.dataset && end ? now.scrollHeight : top;
    now.scrollLeft = left;
    if (typed !== null) now.value = typed;
  }
  if (!focus) return;
  const again = focus.keep ? named(box, focus.keep) : focus.action && box.querySelector(`[data-action="${focus.action}"]:not([hidden])`);
  (again || box.querySelector("[tabindex]"))?.focus({ preventScroll: true });
}
