"""Numbers and times as people read them; the same words as static/js/lib/format.js. Pure."""

from __future__ import annotations

import datetime
import json
from typing import Any

from kue.storage.json_text import strict_json

UNITS = ("B", "kB", "MB", "GB", "TB")


def size_text(count: float) -> str:
    """Return ``10485760`` as ``10.5 MB`` (powers of ten, as file managers and browsers count)."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} {UNITS[unit]}" if unit == 0 or value >= 99.95 else f"{value:.1f} {UNITS[unit]}"


def duration_text(ms: float) -> str:
    """Return milliseconds as ``40 ms``, ``0.8 s``, ``12 s``, ``3 min 5 s``, ``2 h 4 min``, ``3 d 1 h``."""
    seconds = max(0.0, ms) / 1000
    if 0 < seconds < 0.095:
        return f"{ms:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = int(seconds + 0.5)
    for size, name, smaller, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name} {rest} {small_name}" if rest else f"{whole // size} {name}"
    return f"{whole} s"


def ago_text(ms: float) -> str:
    """Return how long ago something was, calmly: ``just now``, ``40 s ago``, ``3 min ago``, ``5 d ago``."""
    seconds = int(ms / 1000)
    if seconds < 10:
        return "just now"
    for size, name, step in ((86400, "d", 1), (3600, "h", 1), (60, "min", 1), (1, "s", 10)):
        if seconds >= size:
            return f"{seconds // size // step * step} {name} ago"
    return ""


def time_text(ms: float) -> str:
    """Return epoch milliseconds as UTC; the page's script puts them into the visitor's zone."""
    try:
        return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return str(ms)


def pretty_json(value: Any) -> str:
    """Return a value as JSON for reading, or as it is if it is a text that is no JSON."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # nested beyond what Python recurses to: on one line
        return strict_json(value)


def ordinal(number: int) -> str:
    """Return ``1st``, ``2nd``, ``3rd``, ``11th``, with thousands set apart."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _clock(ms: float) -> str:
    return time_text(ms)[11:16] + " UTC"


def _ended(span: Any) -> str:
    return f"{_clock(span['at'])}: {span.get('complete', 0):,} completed, {span.get('failed', 0):,} failed"


def _waiting(span: Any) -> str:
    return f"{_clock(span['at'])}: {span.get('waiting', 0):,} waiting"


def _times(span: Any) -> str:
    if "run_mid" not in span:
        return f"{_clock(span['at'])}: nothing completed"
    names = (("waited", "wait_mid"), ("ran", "run_mid"))
    told = [f"{word} {duration_text(span[name])}" for word, name in names if name in span]
    return f"{_clock(span['at'])}: half of the jobs {', '.join(told)} at most"


#: What a column of a chart says when it is pointed at.
CHART_WORDS = {"ended": _ended, "waiting": _waiting, "times": _times}
