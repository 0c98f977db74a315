"""Times and values formatted for the pages. Pure."""

from __future__ import annotations

import datetime
import json
from typing import Any

from kue.storage.json_text import strict_json
from kue.text.humanize import duration_text


def time_text(ms: float) -> str:
    """Return epoch milliseconds as UTC; the page's script shows the visitor's time zone."""
    try:
        return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return str(ms)


def iso_text(ms: float) -> str:
    """Return epoch milliseconds for the attribute ``datetime``; empty for a time outside the calendar."""
    try:
        return datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""


def pretty_json(value: Any) -> str:
    """Return a value as indented JSON."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # nested beyond Python's recursion limit: on one line
        return strict_json(value)


def _finished(span: Any) -> str:
    return f"{span.get('complete', 0):,} completed, {span.get('failed', 0):,} failed"


def _waiting(span: Any) -> str:
    return f"{span.get('waiting', 0):,} waiting"


def _times(span: Any) -> str:
    if "run_mid" not in span:
        return "no job completed"
    parts = []
    for label, name in (("queue", "wait"), ("run", "run")):
        values = [duration_text(span[f"{name}_{part}"]) for _, part in PERCENTILES if f"{name}_{part}" in span]
        if values:
            parts.append(f"{label} {' / '.join(values)}")
    return ", ".join(parts)


#: A percentile and the name that it has in the history's records.
PERCENTILES = (("p50", "mid"), ("p95", "slow"))

#: The value of a chart's column; durations are median / p95.
CHART_WORDS = {"finished": _finished, "waiting": _waiting, "times": _times}
