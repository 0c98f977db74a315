"""What happened each minute of the last hour and each half hour of the last day: kept in Redis, shared, bounded.

Workers take no part: the web processes write what they receive (`kue.web.metrics.event_counters`). Each writes the
same, and of each figure the largest stays.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypedDict

from ..storage.codec import MS_MAX, from_json, number
from ..storage.scripts import Scripts

#: Seconds of a span, and spans that are kept, by name. Two minutes more than an hour are shown are kept.
MINUTE_S, HALF_HOUR_S = 60, 1800
KEPT = {"minutes": 62, "halves": 50}


class Span(TypedDict, total=False):
    """What happened in a minute or half an hour. A figure that nobody knows is left out."""

    at: int
    """Epoch ms of its beginning."""
    complete: int
    failed: int
    """Attempts that failed, the last ones and those that are tried again."""
    waiting: int
    """Most jobs waiting at a time, as seen every few seconds."""
    wait_mid: int
    """Median queue time of the jobs that completed, ms: from when they were due to when they started."""
    wait_slow: int
    """Its 95th percentile (p95)."""
    run_mid: int
    """Median run time, ms."""
    run_slow: int
    """Its p95."""


_FIGURES = frozenset(Span.__annotations__) - {"at"}
#: Number of the last span that a date can name.
AT_MAX = 4_000_000_000


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MS_MAX


class History:
    """The spans of one queue. ``ask`` makes one call to Redis; ``read_hash`` reads a hash, {} if it is none."""

    def __init__(
        self,
        ask: Callable[[Callable[[Any], Any]], Any],
        read_hash: Callable[[str], dict[str, str]],
        scripts: Scripts,
    ) -> None:
        self._ask, self._read_hash, self._scripts = ask, read_hash, scripts

    def record(self, name: str, at: int, figures: Span) -> None:
        """Keep ``figures`` of the span that began at ``at`` spans since the epoch; ``name`` is minutes or halves."""
        known = {key: value for key, value in figures.items() if key != "at"}
        self._ask(lambda client: self._scripts.run(client, "record_history", name, at, json.dumps(known), KEPT[name]))

    def read(self, name: str) -> list[Span]:
        """Return the spans that are known, oldest first; where no web process ran there is none."""
        size_ms = (MINUTE_S if name == "minutes" else HALF_HOUR_S) * 1000
        found = self._read_hash(self._scripts.keys.history(name))
        spans: list[Span] = []
        for at, text in sorted((number(at) or 0, text) for at, text in found.items()):
            entry = from_json(text)
            if 0 < at <= AT_MAX and isinstance(entry, dict):  # somebody else may write there
                figures = {key: int(value) for key, value in entry.items() if key in _FIGURES and _is_figure(value)}
                spans.append({"at": at * size_ms, **figures})  # type: ignore[typeddict-item]
        return spans


def combine(minutes: list[Span]) -> Span:
    """Return what minutes are together: sums of jobs, the most that waited, the middle of the times."""
    whole: Span = {
        "complete": sum(each.get("complete", 0) for each in minutes),
        "failed": sum(each.get("failed", 0) for each in minutes),
        "waiting": max((each.get("waiting", 0) for each in minutes), default=0),
    }
    for name in ("wait_mid", "wait_slow", "run_mid", "run_slow"):
        values = sorted(each[name] for each in minutes if name in each)
        if values:
            whole[name] = values[-1] if name.endswith("slow") else values[len(values) // 2]
    return whole
