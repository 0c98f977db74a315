"""What this process hears of jobs that end: counted for the charts and for /metrics, with how long they took.

The figures of a job are read from Redis, not from the clock here, once a second and for at most SAMPLE jobs: a busy
queue is sampled. A job that is removed at once (`removeOnComplete`, `remove`) counts, but its times are not known.
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

#: Jobs whose figures are read each second.
SAMPLE = 500
#: Times kept of a minute, for its middle.
TIMES = 2_000
#: Seconds between two writes of the minute under way.
NOTE_S = 5.0
#: Types told apart; the rest are counted together as OTHERS.
MAX_TYPES, OTHERS = 200, "(others)"
#: Upper ends of the buckets of the histograms, seconds.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, float("inf"))

FIELDS = ("type", "created_at", "promote_at", "started_at", "duration", "attempts", "state")
OUTCOMES = {"complete": "complete", "failed": "failed", "failed attempt": "failed attempt"}


class Histogram:
    """Times in seconds, by bucket; weights stand for the jobs that were not looked at."""

    def __init__(self) -> None:
        self.counts = [0.0] * len(BUCKETS)
        self.sum = 0.0

    def add(self, seconds: float, weight: float) -> None:
        self.counts[bisect.bisect_left(BUCKETS, seconds)] += weight
        self.sum += seconds * weight


class Times:
    """A fair choice of the times of a minute."""

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
        """Return the time that ``part`` of the jobs did not exceed, None without any."""
        kept = sorted(self._kept)
        return kept[min(len(kept) - 1, int(part * len(kept)))] if kept else None


class Tally:
    """The counts of one web process. `hear` is quick; `run` reads, and writes the history, in a task of its own."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.ended: collections.Counter[tuple[str, str]] = collections.Counter()
        """Attempts that ended since the process began, by type and outcome."""
        self.run_s: dict[str, Histogram] = collections.defaultdict(Histogram)
        self.wait_s: dict[str, Histogram] = collections.defaultdict(Histogram)
        self._fresh: collections.deque[tuple[int | str, str]] = collections.deque()
        self._missed = 0
        self._stopping = threading.Event()
        self._begin(int(time.time() // MINUTE_S))
        self._next_note = 0.0

    def _begin(self, minute: int) -> None:
        self._minute, self._span = minute, Span(complete=0, failed=0, waiting=0)
        self._waits, self._runs = Times(), Times()

    def hear(self, event: Event) -> None:
        """Take an event of the queue; called by its listener."""
        if event.event in OUTCOMES and event.id is not None:
            if len(self._fresh) < SAMPLE:
                self._fresh.append((event.id, event.event))
            else:
                self._missed += 1
            name = "complete" if event.event == "complete" else "failed"
            self._span[name] += 1  # type: ignore[literal-required]

    def run(self) -> None:
        """Look once a second until stopped; an outage is left to the relay to tell."""
        while not self._stopping.wait(1.0):
            try:
                self.look()
            except KueError:
                continue
            except Exception:
                log.exception("counting what ended failed")

    def stop(self) -> None:
        self._stopping.set()

    def look(self, now_s: float | None = None) -> None:
        """Read the figures of what ended since the last look; write the minute if it is time or over."""
        now = time.time() if now_s is None else now_s
        self._measure()
        minute = int(now // MINUTE_S)
        if minute == self._minute and now < self._next_note:
            return
        self._next_note = now + NOTE_S
        self._note()
        if minute != self._minute:
            over = self._minute
            self._begin(minute)
            self._close(over)
            self._note()

    def _measure(self) -> None:
        fresh = [self._fresh.popleft() for _ in range(len(self._fresh))]
        missed, self._missed = self._missed, 0
        if not fresh:
            return
        weight = (len(fresh) + missed) / len(fresh)
        found = self.queue.fields([job_id for job_id, _ in fresh], FIELDS)
        for (_, event), (kind, *figures) in zip(fresh, found, strict=True):
            name = self._name(kind)
            self.ended[name, OUTCOMES[event]] += weight  # type: ignore[assignment]  # a Counter takes parts as well
            created, promote, started, duration, attempts = (_whole(each) for each in figures[:-1])
            if event != "complete" or figures[-1] != "complete" or started is None:
                continue
            if duration is not None:
                self._runs.add(duration)
                self.run_s[name].add(duration / 1000, weight)
            due = max(created or 0, promote or 0)
            if due and (attempts or 0) <= 1:  # one that was tried again at once was not due anew
                self._waits.add(max(0, started - due))
                self.wait_s[name].add(max(0, started - due) / 1000, weight)

    def _name(self, kind: str | None) -> str:
        if kind is None:
            return "(removed)"
        known = {name for name, _ in self.ended}
        return kind if kind in known or len(known) < MAX_TYPES else OTHERS

    def _note(self) -> None:
        span = self._span
        span["waiting"] = max(span["waiting"], self.queue.counts()["inactive"])
        for name, times in (("wait", self._waits), ("run", self._runs)):
            for part, share in (("mid", 0.5), ("slow", 0.95)):
                value = times.at(share)
                if value is not None:
                    span[f"{name}_{part}"] = value  # type: ignore[literal-required]
        self.queue.history.record("minutes", self._minute, span)

    def _close(self, minute: int) -> None:
        """Put the half hour of a minute that is over together from its minutes, as Redis has them by now."""
        half = minute * MINUTE_S // HALF_HOUR_S
        first, end = half * HALF_HOUR_S * 1000, (half + 1) * HALF_HOUR_S * 1000
        minutes = [each for each in self.queue.history.read("minutes") if first <= each["at"] < end]
        self.queue.history.record("halves", half, combine(minutes))


def _whole(text: str | None) -> int | None:
    try:
        return int(float(text)) if text else None
    except (ValueError, OverflowError):
        return None
