/* Readable numbers and times, the same as in kue/text/humanize.py. Pure. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];

const YEAR_S = 365 * 86400;
/** Units of a duration, seconds, each with the next smaller one. */
const SIZES = [[YEAR_S, "y", 86400, "d"], [86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];

/** 10485760 -> "10.5 MB" (powers of ten, as file managers and browsers count). */
export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`;
}

/** Milliseconds -> "40 ms", "0.8 s", "12 s", "3 min 5 s", "2 h 4 min", "3 d 1 h", "2 y 9 d". */
export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 0.095) return `${Math.round(Math.max(0, ms))} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  for (const [size, name, smaller, smallName] of SIZES) {
    if (whole < size) continue;
    const rest = Math.floor((whole % size) / smaller);
    return rest ? `${Math.floor(whole / size)} ${name} ${rest} ${smallName}` : `${Math.floor(whole / size)} ${name}`;
  }
  return `${whole} s`;
}

/** A duration in whole seconds, rounded up, for displays updated every second. */
export function countdown(ms) {
  return ms <= 0 ? "0 s" : duration(Math.ceil(ms / 1000) * 1000).replace(".0 s", " s");
}

/** Milliseconds -> "just now", "40 s ago", "3 min ago", "2 h ago", "5 d ago". */
export function ago(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10) return "just now";
  for (const [size, name, step] of [[YEAR_S, "y", 1], [86400, "d", 1], [3600, "h", 1], [60, "min", 1], [1, "s", 10]]) {
    if (seconds >= size) return `${Math.floor(Math.floor(seconds / size) / step) * step} ${name} ago`;
  }
  return "";
}

/** A distance in time: "3 min ago" for the past, "in 5 min" for the future (a negative one). */
export function relative(ms) {
  return ms > -1000 ? ago(ms) : `in ${countdown(-ms)}`;
}

/** 1234567 -> "1,234,567". The pages are in English, and so are their numbers. */
export function count(number) {
  return number.toLocaleString("en");
}

/** Epoch milliseconds -> "2026-01-31 14:03:22" in the visitor's time zone. */
export function absolute(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return String(ms);
  const two = (value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}
