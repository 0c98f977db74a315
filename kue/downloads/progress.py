"""Progress events (at most four per second) and log lines of a running job."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Protocol, TypedDict

#: Shortest interval between progress events of a job, seconds.
PROGRESS_S = 0.25
#: Time constant of the smoothed rate, seconds.
SMOOTHING_S = 3.0


class JobLike(Protocol):
    """What a download uses of a job."""

    id: Any
    data: Any

    def log(self, message: str, *args: object) -> object:
        """Add a line to the job's log."""

    def progress(self, complete: int, total: int, data: object = None) -> object:
        """Report progress."""


class ProgressData(TypedDict):
    """The data of a progress event."""

    bytes: int
    "Received so far, including earlier attempts."
    total: int | None
    "Size of the file, or None if the server did not say."
    rate: int
    "Bytes per second, smoothed."
    eta_s: float | None
    "Estimated seconds left, or None if unknown."


class Progress:
    """Count bytes and report them to the job. What the job raises (an interrupt, a lost lease) passes through."""

    def __init__(self, job: JobLike, clock: Callable[[], float] = time.monotonic) -> None:
        self._job, self._clock = job, clock
        self.total: int | None = None
        self.bytes = 0
        self.fetched = 0
        self._due = -math.inf
        self._seen_at = clock()
        self._seen_fetched = 0
        self._rate = 0.0

    def log(self, line: str) -> None:
        """Write a line to the job's log."""
        self._job.log("%s", line)

    def begin(self, already: int, total: int | None) -> None:
        """Start counting at ``already`` bytes."""
        self.bytes, self.total = already, total
        self._seen_at, self._seen_fetched, self._rate = self._clock(), self.fetched, 0.0
        self.tick()

    def advance(self, size: int) -> None:
        """Count written bytes, and report if it is time."""
        self.bytes += size
        self.fetched += size
        self.tick()

    def reach(self, total_bytes: int) -> None:
        """Set the total number of bytes, where several threads fetch."""
        self.fetched += total_bytes - self.bytes
        self.bytes = total_bytes
        self.tick()

    def tick(self) -> None:
        """Report if it is time, even if nothing has arrived: interrupts are raised here."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + PROGRESS_S
        self._measure(now)
        data: ProgressData = {"bytes": self.bytes, "total": self.total, "rate": int(self._rate), "eta_s": self._eta()}
        self._job.progress(self.bytes if self.total else 0, self.total or 1, data)

    def _measure(self, now: float) -> None:
        passed = now - self._seen_at
        if passed < PROGRESS_S / 2:
            return
        latest = (self.fetched - self._seen_fetched) / passed
        weight = 1 - math.exp(-passed / SMOOTHING_S)
        self._rate = latest if self._rate == 0 else self._rate + weight * (latest - self._rate)
        self._seen_at, self._seen_fetched = now, self.fetched

    def _eta(self) -> float | None:
        if not self.total or self._rate < 1:
            return None
        return round(max(0, self.total - self.bytes) / self._rate, 1)
