"""Concurrency and bandwidth limits: slots in total, slots per host, and bytes per second in total.

One object serves all downloads of a process. Each limit may be changed while they run.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kue.concurrency import green

#: Longest sleep of a waiter, seconds: it notices a changed limit or an interrupt within this time.
LOOK_S = 0.2


class HostBusy(Exception):
    """The limit per host is reached. ``running`` is the number of downloads from the host."""

    def __init__(self, running: int) -> None:
        super().__init__(f"{running} downloads are running")
        self.running = running


@dataclass
class SizeLimits:
    """Largest file, and disk space to keep free, bytes. May be changed while downloads run."""

    max_bytes: int
    min_free: int


class DownloadLimits:
    """Slots and rate. ``None`` means no limit.

    ``slots``: concurrent downloads in this process; more of them wait in a queue. ``per_host``: concurrent downloads
    from one host; more of them get HostBusy, since in the queue they would block downloads from other hosts.
    ``rate``: bytes per second of all downloads in total; with ``others``, of these and as many in other processes.
    """

    def __init__(
        self,
        slots: int | None = None,
        per_host: int | None = None,
        rate: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = green.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._cond = threading.Condition()
        self._running: Counter[str] = Counter()
        self._waiting: list[_Waiter] = []
        self._slots, self._per_host, self._rate = _checked(slots), _checked(per_host), _checked(rate)
        self._tokens = 0.0
        self._filled_at = clock()
        #: Number of downloads in other processes that share the rate.
        self.others = 0

    @property
    def slots(self) -> int | None:
        """Concurrent downloads."""
        return self._slots

    @slots.setter
    def slots(self, number: int | None) -> None:
        self._slots = _checked(number)
        self._wake()

    @property
    def per_host(self) -> int | None:
        """Concurrent downloads from one host."""
        return self._per_host

    @per_host.setter
    def per_host(self, number: int | None) -> None:
        self._per_host = _checked(number)
        self._wake()

    @property
    def rate(self) -> int | None:
        """Bytes per second, all downloads in total."""
        return self._rate

    @rate.setter
    def rate(self, number: int | None) -> None:
        with self._cond:
            self._rate = _checked(number)
            self._tokens, self._filled_at = 0.0, self._clock()

    def running(self, host: str | None = None) -> int:
        """Return how many downloads hold a slot, from ``host`` or from all."""
        return self._running.total() if host is None else self._running[host]

    @contextmanager
    def slot(self, host: str, tick: Callable[[], None], waits: Callable[[], None]) -> Iterator[None]:
        """Hold a slot for ``host``; wait for one in first-in-first-out order. Raises HostBusy at the limit per host.

        ``waits`` is called once if it has to wait, ``tick`` repeatedly while it waits; both may raise.
        """
        place = _Waiter(host)
        with self._cond:
            self._waiting.append(place)
        try:
            taken = self._take(place)
            if not taken:
                waits()
            while not taken:
                with self._cond:
                    self._cond.wait(LOOK_S)
                taken = self._take(place)
                if not taken:
                    tick()
            yield
        finally:
            with self._cond:
                if place in self._waiting:
                    self._waiting.remove(place)
                else:
                    self._running[host] -= 1
                    if self._running[host] <= 0:
                        del self._running[host]
                self._cond.notify_all()

    def chunk_bytes(self, most: int) -> int:
        """Return how many bytes to read at a time: less than ``most`` under a low rate limit, for an even flow."""
        rate = self._own_rate()
        return most if rate is None else max(1024, min(most, int(rate / 10)))

    def throttle(self, size_bytes: int, tick: Callable[[], None]) -> None:
        """Account for received bytes, and sleep while all downloads together exceed the rate limit."""
        if self._rate is None:
            return
        spent = size_bytes
        while True:
            with self._cond:
                rate = self._own_rate()
                if rate is None:
                    return
                now = self._clock()
                # At most a tenth of a second is saved up, so a pause is not followed by a burst.
                self._tokens = min(self._tokens + (now - self._filled_at) * rate, rate / 10) - spent
                self._filled_at, spent = now, 0
                debt_s = -self._tokens / rate
            if debt_s <= 0:
                return
            self._sleep(max(0.001, min(debt_s, LOOK_S)))  # a sleep too short to move the clock would repeat forever
            tick()

    def _own_rate(self) -> float | None:
        """Return this process's part of the rate, by its part of the downloads."""
        if self._rate is None:
            return None
        here = max(1, self._running.total())
        return max(1.0, self._rate * here / (here + self.others))

    def _take(self, place: _Waiter) -> bool:
        """Give ``place`` a slot if one is free and it is first in the queue."""
        with self._cond:
            running = self._running[place.host]
            if self._per_host is not None and running >= self._per_host:
                raise HostBusy(running)
            if self._slots is not None and self._running.total() >= self._slots or self._waiting[0] is not place:
                return False
            self._waiting.remove(place)
            self._running[place.host] += 1
            return True

    def _wake(self) -> None:
        with self._cond:
            self._cond.notify_all()


class _Waiter:
    """A waiting download, compared by identity."""

    def __init__(self, host: str) -> None:
        self.host = host


#: Limits that may be changed while downloads run.
NAMES = ("slots", "per_host", "rate", "min_free")


def check_limit(name: str, number: object) -> int | None:
    """Return ``number`` if it is valid for the limit of that name. Raises ValueError."""
    if name not in NAMES:
        raise ValueError(f"unknown limit {name!r}; expected {', '.join(NAMES)}")
    if name == "min_free" and number == 0 and not isinstance(number, bool):
        return 0
    return _checked(number)


def _checked(number: object) -> int | None:
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"a limit must be a whole number of at least 1 or None, not {number!r}")
    return number
