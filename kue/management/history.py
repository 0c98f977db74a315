"""Statistics per minute of the last hour and per half hour of the last day, kept in Redis for all web processes.

Web processes write what they receive as events (`kue.web.metrics.event_counters`); workers are not involved. All of
them write the same spans, and the largest value of each figure is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypedDict

from ..storage.codec import MS_MAX, from_json, number
from ..storage.scripts import Scripts

#: Length of a span, seconds, and number of spans kept, by name: two minutes more than the hour shown.
MINUTE_S, HALF_HOUR_S = 60, 1800
KEPT = {"minutes": 62, "halves": 50}


class Span(TypedDict, total=False):
    """Statistics of a minute or half an hour. Unknown figures are omitted."""

    at: int
    """Start time, epoch ms."""
    complete: int
    failed: int
    """Failed attempts, final ones and those retried."""
    waiting: int
    """Maximum number of waiting jobs, sampled every few seconds."""
    wait_mid: int
    """Median queue time of completed jobs, from due to started, ms."""
    wait_slow: int
    """Its 95th percentile (p95)."""
    run_mid: int
    """Median run time, ms."""
    run_slow: int
    """Its p95."""


_FIGURES = frozenset(Span.__annotations__) - {"at"}
#: Largest number of a span that a date can represent.
AT_MAX = 4_000_000_000


def _is_figure(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= MS_MAX


class History:
    """The spans of one queue. ``ask`` makes one call to Redis; ``read_hash`` reads a hash ({} if it does not exist)."""

    def __init__(
        self,
        ask: Callable[[Callable[[Any], Any]], Any],
        read_hash: Callable[[str], dict[str, str]],
        scripts: Scripts,
    ) -> None:
        self._ask, self._read_hash, self._scripts = ask, read_hash, scripts

    def record(self, name: str, at: int, figures: Span) -> None:
        """Store the ``figures`` of span number ``at`` since the epoch; ``name`` is "minutes" or "halves"."""
        known = {key: value for key, value in figures.items() if key != "at"}
        self._ask(lambda client: self._scripts.run(client, "record_history", name, at, json.dumps(known), KEPT[name]))

    def read(self, name: str) -> list[Span]:
        """Return the recorded spans, oldest first. There are none for times without a web process."""
        size_ms = (MINUTE_S if name == "minutes" else HALF_HOUR_S) * 1000
        found = self._read_hash(self._scripts.keys.history(name))
        spans: list[Span] = []
        for at, text in sorted((number(at) or 0, text) for at, text in found.items()):
            entry = from_json(text)
            if 0 < at <= AT_MAX and isinstance(entry, dict):  # other programs may write there
                figures = {key: int(value) for key, value in entry.items() if key in _FIGURES and _is_figure(value)}
                spans.append({"at": at * size_ms, **figures})  # type: ignore[typeddict-item]
        return spans


def combine(minutes: list[Span]) -> Span:
    """Combine minutes: sum the jobs, take the maximum waiting, the median of medians and the maximum p95."""
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
