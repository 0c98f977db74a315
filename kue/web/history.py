"""What happened each minute since this process began, for the charts: bounded, in memory, from the relay's counts."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from typing import TypedDict

#: Minutes that are kept: a day.
KEPT = 24 * 60


class Minute(TypedDict):
    """One point of a chart."""

    at: int
    """Epoch milliseconds of its beginning."""
    complete: int
    failed: int
    """Attempts that failed, the last ones and those that are tried again."""
    waiting: int
    """Jobs in line at its end."""


class History:
    """A day of minutes. ``counts`` reads the queue, ``heard`` is the relay's running count of events by name."""

    def __init__(self, counts: Callable[[], dict[str, int]], heard: collections.Counter[str]) -> None:
        self._counts, self._heard = counts, heard
        self._minutes: collections.deque[Minute] = collections.deque(maxlen=KEPT)
        self._minute = int(time.time() // 60)
        self._before = self._totals()

    def _totals(self) -> tuple[int, int]:
        return self._heard["complete"], self._heard["failed"] + self._heard["failed attempt"]

    def tick(self, now_s: float | None = None) -> None:
        """Close the minute if it is over. Called every second; asks Redis once a minute and raises what that raises."""
        minute = int((time.time() if now_s is None else now_s) // 60)
        if minute == self._minute:
            return
        over, self._minute = self._minute, minute
        totals = self._totals()
        before, self._before = self._before, totals
        waiting = self._counts()["inactive"]
        self._minutes.append(
            {
                "at": over * 60_000,
                "complete": totals[0] - before[0],
                "failed": totals[1] - before[1],
                "waiting": waiting,
            }
        )

    def minutes(self, count: int = 60) -> list[Minute]:
        """Return the last minutes, oldest first, and the one that is under way."""
        totals, waiting = self._totals(), self._counts()["inactive"]
        present: Minute = {
            "at": self._minute * 60_000,
            "complete": totals[0] - self._before[0],
            "failed": totals[1] - self._before[1],
            "waiting": waiting,
        }
        return [*list(self._minutes)[-(count - 1) :], present]

    def day(self, step: int = 30) -> list[Minute]:
        """Return the last day in steps of so many minutes, oldest first."""
        steps: dict[int, Minute] = {}
        for minute in self.minutes(KEPT):
            at = minute["at"] // (step * 60_000) * (step * 60_000)
            total = steps.setdefault(at, {"at": at, "complete": 0, "failed": 0, "waiting": 0})
            total["complete"] += minute["complete"]
            total["failed"] += minute["failed"]
            total["waiting"] = max(total["waiting"], minute["waiting"])
        return list(steps.values())
