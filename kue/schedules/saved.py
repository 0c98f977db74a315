"""A schedule in Redis: its definition, next time and recent runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..storage.codec import number
from . import times
from .definition import Schedule


class Run(NamedTuple):
    """A recently handled occurrence. Times are epoch ms."""

    at: int
    """The scheduled time."""
    late_ms: int
    """How long after the due time."""
    job_id: int | None
    """None if it was skipped because the last job had not ended."""
    by_hand: bool
    """Whether it was run by hand rather than at a scheduled time."""


class SavedSchedule:
    """A schedule read from Redis. Times are epoch ms; one that does not apply is None."""

    def __init__(self, name: str, raw: Mapping[str, str], definition: Schedule | None = None) -> None:
        #: The definition in its stored form.
        self.text = raw.get("definition", "")
        self.definition = definition or Schedule.read(name, self.text)
        self.name, self.type, self.data = name, self.definition.type, self.definition.data
        #: The ``owner`` of ``declare_schedules``; "" for one created by hand.
        self.owner = raw.get("owner", "")
        self.paused = raw.get("paused") == "1"
        #: The next time, and when it is due (later by the jitter). None while paused, or once ended.
        self.next_at = number(raw.get("next_at"))
        self.due_at = None if self.next_at is None else times.due(self.definition, self.next_at)
        #: The last handled time, how long after the due time, and the job (None if skipped).
        self.last_at, self.late_ms = number(raw.get("last_at")), number(raw.get("late_ms"))
        self.last_job = number(raw.get("last_job"))
        #: When the last occurrence was handled.
        self.fired_at = number(raw.get("fired_at"))
        #: Jobs created, and times skipped because the last job had not ended.
        self.count, self.skipped = number(raw.get("count")) or 0, number(raw.get("skipped")) or 0
        self.created_at, self.updated_at = number(raw.get("created_at")), number(raw.get("updated_at"))
        #: Recently handled occurrences, newest first.
        self.runs = [run for part in reversed(raw.get("runs", "").split(",")) if (run := _run(part))]
        self.anchor = number(raw.get("anchor")) or 0
        self.sha = sha(self.text)
        self.handled = times.Handled(number(raw.get("until")) or 0, _hole(raw.get("hole", "")))

    def __repr__(self) -> str:
        return f"<SavedSchedule {self.name}: {self.type} {self.when}>"

    @property
    def when(self) -> str:
        """The rule for display."""
        return self.definition.when

    @property
    def ended(self) -> bool:
        """Whether no more times follow: after ``at`` or ``end``, or ``limit`` jobs."""
        return self.next_at is None and not self.paused

    def to_dict(self) -> dict[str, Any]:
        """Return all fields for JSON. Times are epoch ms, durations ms."""
        definition = self.definition
        return {
            "name": self.name,
            "type": self.type,
            "data": self.data,
            "options": definition.options,
            "when": self.when,
            "cron": definition.cron,
            "timezone": definition.timezone,
            "every": definition.every_ms,
            "at": definition.at_ms,
            "start": definition.start_ms,
            "end": definition.end_ms,
            "limit": definition.limit,
            "jitter": definition.jitter_ms,
            "overlap": definition.overlap,
            "missed": definition.missed,
            "owner": self.owner,
            "paused": self.paused,
            "ended": self.ended,
            "next_at": self.next_at,
            "due_at": self.due_at,
            "last_at": self.last_at,
            "late_ms": self.late_ms,
            "last_job": self.last_job,
            "count": self.count,
            "skipped": self.skipped,
        }

    def upcoming(self, count: int = 10) -> list[int]:
        """Return the next times, epoch ms; none while paused, or once ended."""
        if self.next_at is None:
            return []
        limit = self.definition.limit
        count = count if limit is None else min(count, limit - self.count)
        found = times.unhandled(self.definition, self.anchor, self.next_at - 1, self.handled)
        return [each for _, each in zip(range(count), found, strict=False)]

    def first_time(self, now_ms: int) -> int | None:
        """Return the next time from now, ignoring the stored one; None if there is none."""
        limit = self.definition.limit
        if limit is not None and self.count >= limit:
            return None
        return times.first_time(self.definition, self.anchor, now_ms, self.handled)


def sha(text: str) -> str:
    """Return the digest that identifies a definition in the scripts; "" for none."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() if text else ""


def hole_text(handled: times.Handled) -> str:
    return "" if handled.hole is None else f"{handled.hole[0]}-{handled.hole[1]}"


def _hole(text: str) -> tuple[int, int] | None:
    begin, end = (number(part) for part in (text.partition("-")[::2]))
    return None if begin is None or end is None else (begin, end)


def _run(text: str) -> Run | None:
    """Parse ``at:late:job``, as written by include/schedules.lua: no job if skipped, "h" prefix if run by hand."""
    parts: list[Any] = text.split(":")
    if len(parts) != 3 or (at := number(parts[0])) is None:
        return None
    return Run(at, number(parts[1]) or 0, number(parts[2].removeprefix("h")), parts[2].startswith("h"))
