/* Throttled rendering: at once while it is cheap, less often the longer it takes. */

/** Pause after a render, as a multiple of its duration, so that most of the time is left for the visitor. */
const REST = 4;
/** But no longer than this, in ms. */
const REST_MAX_MS = 1000;
/** Requests in a second from which on the page counts as busy: rows out of sight are not rendered (monitor.css). */
const BUSY = 4;

let wanted = 0;
setInterval(() => {
  document.body.classList.toggle("is_busy", wanted >= BUSY);
  wanted = 0;
}, 1000);

/** Return a function that requests a render; several requests before it happens are one. */
export function throttledRender(draw) {
  let asked = false;
  let free = 0;
  return () => {
    wanted += 1;
    if (asked) return;
    asked = true;
    setTimeout(() => requestAnimationFrame(() => {
      asked = false;
      const begun = performance.now();
      draw();
      // The browser's own rendering comes before the next task.
      setTimeout(() => {
        const took = performance.now() - begun;
        free = begun + took + Math.min(REST_MAX_MS, REST * took);
      });
    }), Math.max(0, free - performance.now()));
  };
}
