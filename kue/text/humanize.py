"""Format sizes, durations and ages for display, like static/js/lib/format.js. Pure."""

from __future__ import annotations

import math

UNITS = ("B", "kB", "MB", "GB", "TB")
YEAR_S = 365 * 86400
#: Units of a duration, seconds, each with the next smaller one.
_SIZES = ((YEAR_S, "y", 86400, "d"), (86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def size_text(size_bytes: float) -> str:
    """Return ``10485760`` as ``10.5 MB`` (powers of ten, as file managers and browsers count)."""
    value, unit = float(size_bytes), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{_half_up(value)} {UNITS[unit]}" if unit == 0 or value >= 99.95 else f"{value:.1f} {UNITS[unit]}"


def duration_text(ms: float) -> str:
    """Return milliseconds as ``40 ms``, ``0.8 s``, ``12 s``, ``3 min 5 s``, ``2 h 4 min``, ``3 d 1 h``, ``2 y 9 d``."""
    seconds = max(0.0, ms) / 1000
    if seconds < 0.095:
        return f"{_half_up(max(0.0, ms))} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = _half_up(seconds)
    for size, name, smaller, small_name in _SIZES:
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {small_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def countdown_text(ms: float) -> str:
    """Return a duration in whole seconds, rounded up: for a clock that ticks once a second."""
    return "0 s" if ms <= 0 else duration_text(math.ceil(ms / 1000) * 1000).replace(".0 s", " s")


def ago_text(ms: float) -> str:
    """Return how long ago something was, roughly: ``just now``, ``40 s ago``, ``3 min ago``, ``5 d ago``."""
    seconds = int(ms / 1000)
    if seconds < 10:
        return "just now"
    for size, name, step in ((YEAR_S, "y", 1), (86400, "d", 1), (3600, "h", 1), (60, "min", 1), (1, "s", 10)):
        if seconds >= size:
            return f"{seconds // size // step * step} {name} ago"
    return ""


def relative_text(ms: float) -> str:
    """Return a distance in time: ``3 min ago`` for the past, ``in 5 min`` for the future (a negative one)."""
    return ago_text(ms) if ms > -1000 else f"in {countdown_text(-ms)}"


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``11th``, with thousands separators."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _half_up(value: float) -> int:
    return int(value + 0.5)
