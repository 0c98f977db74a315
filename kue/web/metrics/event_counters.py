"""Count finished jobs by their events, with queue time and run time, for the charts and /metrics.

The times of a job are read from Redis, once a second and for at most SAMPLE jobs: a busy queue is sampled. A job that
is removed immediately (`removeOnComplete`, `remove`) counts, but its times are unknown.
"""

from __future__ import annotations

import bisect
import collections
import logging
import random
import threading
import time
from typing import TYPE_CHECKING

from kue.errors import KueError
from kue.management.history import HALF_HOUR_S, MINUTE_S, Span, combine

if TYPE_CHECKING:
    from kue.client.events import Event
    from kue.queue import Queue

log = logging.getLogger("kue.web")

#: Maximum number of jobs whose times are read per second.
SAMPLE = 500
#: Number of times kept per minute, for percentiles.
TIMES = 2_000
#: Interval between writes of the current minute, seconds.
RECORD_S = 5.0
#: Maximum number of types counted separately; the rest are counted together as OTHERS.
MAX_TYPES, OTHERS = 200, "(others)"
#: Upper bounds of the histogram buckets, seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, float("inf"))

FIELDS = ("type", "created_at", "promote_at", "started_at", "duration", "attempts", "state")
#: Events that finish an attempt.
OUTCOMES = frozenset({"complete", "failed", "failed attempt"})


class Histogram:
    """Times in seconds, by bucket. Weights, which prometheus_client lacks, represent the jobs that were not sampled."""

    def __init__(self) -> None:
        self.counts = [0.0] * len(BUCKETS)
        self.sum = 0.0

    def add(self, seconds: float, weight: float) -> None:
        self.counts[bisect.bisect_left(BUCKETS, seconds)] += weight
        self.sum += seconds * weight


class Times:
    """A uniform sample of a minute's times (reservoir sampling)."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._seen = 0

    def add(self, ms: int) -> None:
        self._seen += 1
        if len(self._kept) < TIMES:
            self._kept.append(ms)
        else:
            place = random.randrange(self._seen)
            if place < TIMES:
                self._kept[place] = ms

    def at(self, part: float) -> int | None:
        """Return a percentile (``part`` from 0 to 1), None without any times."""
        kept = sorted(self._kept)
        return kept[min(len(kept) - 1, int(part * len(kept)))] if kept else None


class EventCounters:
    """The counters of one web process. `receive` is quick; `run` reads and writes the history in a separate task."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.ended: collections.Counter[tuple[str, str]] = collections.Counter()
        """Attempts finished since the process started, by type and outcome."""
        self.run_s: dict[str, Histogram] = collections.defaultdict(Histogram)
        self.wait_s: dict[str, Histogram] = collections.defaultdict(Histogram)
        self._fresh: collections.deque[tuple[int | str, str]] = collections.deque()
        self._missed = 0
        self._stopping = threading.Event()
        self._begin(int(time.time() // MINUTE_S))
        self._next_record = 0.0

    def _begin(self, minute: int) -> None:
        self._minute, self._span = minute, Span(complete=0, failed=0, waiting=0)
        self._waits, self._runs = Times(), Times()

    def receive(self, event: Event) -> None:
        """Receive one event; called by the queue's listener."""
        if event.event in OUTCOMES and event.id is not None:
            if len(self._fresh) < SAMPLE:
                self._fresh.append((event.id, event.event))
            else:
                self._missed += 1
            name = "complete" if event.event == "complete" else "failed"
            self._span[name] += 1  # type: ignore[literal-required]

    def run(self) -> None:
        """Sample once a second until stopped. The relay reports outages."""
        while not self._stopping.wait(1.0):
            try:
                self.sample()
            except KueError:
                continue
            except Exception:
                log.exception("Counting finished jobs failed")

    def stop(self) -> None:
        self._stopping.set()

    def sample(self, now_s: float | None = None) -> None:
        """Read the times of jobs that finished since the last sample; write the minute when it is due or over."""
        now = time.time() if now_s is None else now_s
        self._measure()
        minute = int(now // MINUTE_S)
        if minute == self._minute and now < self._next_record:
            return
        self._next_record = now + RECORD_S
        self._record()
        if minute != self._minute:
            over = self._minute
            self._begin(minute)
            self._close(over)
            self._record()

    def _measure(self) -> None:
        fresh = [self._fresh.popleft() for _ in range(len(self._fresh))]
        missed, self._missed = self._missed, 0
        if not fresh:
            return
        weight = (len(fresh) + missed) / len(fresh)
        found = self.queue.fields([job_id for job_id, _ in fresh], FIELDS)
        for (_, event), (kind, *figures) in zip(fresh, found, strict=True):
            name = self._name(kind)
            self.ended[name, event] += weight  # type: ignore[assignment]  # a Counter also takes fractions
            created, promote, started, duration, attempts = (_whole(each) for each in figures[:-1])
            if event != "complete" or figures[-1] != "complete" or started is None:
                continue
            if duration is not None:
                self._runs.add(duration)
                self.run_s[name].add(duration / 1000, weight)
            due = max(created or 0, promote or 0)
            if due and (attempts or 0) <= 1:  # a retry without delay has no new due time
                self._waits.add(max(0, started - due))
                self.wait_s[name].add(max(0, started - due) / 1000, weight)

    def _name(self, kind: str | None) -> str:
        if kind is None:
            return "(removed)"
        known = {name for name, _ in self.ended}
        return kind if kind in known or len(known) < MAX_TYPES else OTHERS

    def _record(self) -> None:
        span = self._span
        span["waiting"] = max(span["waiting"], self.queue.counts()["inactive"])
        for name, times in (("wait", self._waits), ("run", self._runs)):
            for part, share in (("mid", 0.5), ("slow", 0.95)):  # the names of p50 and p95 in the records
                value = times.at(share)
                if value is not None:
                    span[f"{name}_{part}"] = value  # type: ignore[literal-required]
        self.queue.history.record("minutes", self._minute, span)

    def _close(self, minute: int) -> None:
        """Combine the minutes in Redis into the half hour of a finished minute."""
        half = minute * MINUTE_S // HALF_HOUR_S
        first, end = half * HALF_HOUR_S * 1000, (half + 1) * HALF_HOUR_S * 1000
        minutes = [each for each in self.queue.history.read("minutes") if first <= each["at"] < end]
        self.queue.history.record("halves", half, combine(minutes))


def _whole(text: str | None) -> int | None:
    try:
        return int(float(text)) if text else None
    except (ValueError, OverflowError):
        return None
