/* Draws as often as the browser can bear: at once while that is cheap, more seldom the longer it takes. */

/** The next drawing waits so many times as long as the last one took, so most of the time is left for the visitor. */
const REST = 4;
/** But no longer than this, in ms. */
const REST_MAX_MS = 1000;
/** Drawings asked for in a second from which on the page counts as busy: its lines out of sight are left out (monitor.css). */
const BUSY = 4;

let wanted = 0;
setInterval(() => {
  document.body.classList.toggle("is_busy", wanted >= BUSY);
  wanted = 0;
}, 1000);

/** Return a function that asks for a drawing; asked again before it is done, it draws once. */
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
      // What the browser itself does for the drawing comes before the next task.
      setTimeout(() => {
        const took = performance.now() - begun;
        free = begun + took + Math.min(REST_MAX_MS, REST * took);
      });
    }), Math.max(0, free - performance.now()));
  };
}
