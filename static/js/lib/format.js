/* Numbers and times as people read them. Pure: data in, text out. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];

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

/** Milliseconds -> "40 ms", "0.8 s", "12 s", "3 min 5 s", "2 h 4 min", "3 d 1 h". */
export function duration(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds > 0 && seconds < 0.095) return `${Math.round(ms)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${Math.floor(hours / 24)} d`;
}

/** The same, without tenths: for a countdown that ticks once a second. */
export function countdown(ms) {
  return duration(Math.max(0, Math.ceil(ms / 1000)) * 1000).replace(/\.0 s$/, " s");
}

/** Milliseconds -> "just now", "40 s ago", "3 min ago", "2 h ago", "5 d ago": it need not be drawn anew each second. */
export function ago(ms) {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10) return "just now";
  for (const [size, name, step] of [[86400, "d", 1], [3600, "h", 1], [60, "min", 1], [1, "s", 10]]) {
    if (seconds >= size) return `${Math.floor(Math.floor(seconds / size) / step) * step} ${name} ago`;
  }
  return "";
}

/** 1234567 -> "1,234,567" in the visitor's own way of writing numbers. */
export function count(number) {
  return number.toLocaleString();
}

/** Epoch milliseconds -> "today 14:03:22" style text in the visitor's zone. */
export function when(ms) {
  const date = new Date(ms);
  const clock = date.toLocaleTimeString();
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toLocaleDateString()} ${clock}`;
}
