"""The engine's state of one job type: its slots, and whether to fetch jobs. Guarded by the engine's lock."""

from __future__ import annotations

import time
from typing import NamedTuple

from ..gate import gate
from .handler import Handler


class Slot(NamedTuple):
    """The right to run one job at a time; its number is the last part of a job's workerId."""

    number: int
    handler: Handler


class TypeSlots:
    """The slots of one type in this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.free: list[Slot] = []
        self.may_have_jobs = True  #: whether to fetch, or to block until there is a wake-up token
        self.generation = 0  #: incremented when jobs may wait, so that a reply to an older call cannot undo it
        self.draining = False
        self.is_ready = True  #: whether its executor can start attempts
        self.paused_until = 0.0
        self.no_thread_until = 0.0  #: no attempt could be started, monotonic s
        self.later_at: float | None = None  #: when a limit lets more jobs start, monotonic s; None: not known
        self._total = 0  #: slots, free or not
        self._retiring = 0  #: slots to remove as soon as they are free
        self.newest: Handler  #: handler for further slots

    @property
    def concurrency(self) -> int:
        return self._total - self._retiring

    def is_held(self) -> bool:
        """Return whether no jobs may be taken, even if some wait."""
        return self.draining or not self.is_ready or gate.is_closed or self.no_thread_until > time.monotonic()

    def should_fetch(self) -> bool:
        """Return whether to ask Redis for jobs."""
        is_due = self.later_at is not None and self.later_at <= time.monotonic()
        return self._is_open() and (self.may_have_jobs or is_due)

    def should_block(self) -> bool:
        """Return whether to block on its wake-up tokens, because no jobs waited at the last fetch."""
        return self._is_open() and not self.may_have_jobs

    def add(self, numbers: range, handler: Handler) -> None:
        self.free += [Slot(number, handler) for number in numbers]
        self._total += len(numbers)
        self.newest = handler
        self.expect_jobs()

    def expect_jobs(self) -> None:
        """Record that jobs may wait: fetch, whatever the replies to calls in progress say."""
        self.may_have_jobs, self.paused_until = True, 0.0
        self.generation += 1

    def back_off(self, seconds: float, generation: int) -> None:
        """Fetch nothing for some seconds, unless jobs may have arrived since the call made in ``generation``."""
        self.may_have_jobs = True
        if self.generation == generation:
            self.paused_until = time.monotonic() + seconds

    def hold(self, seconds: float) -> None:
        """Take no jobs for some seconds, even if some arrive: no thread could be started for one."""
        self.no_thread_until = time.monotonic() + seconds

    def update(self, more: bool, generation: int, later_ms: int | None = None) -> None:
        """Record whether jobs still wait, from the reply to a call made in ``generation``.

        ``later_ms``: time until a limit lets more of them start.

        Replies may be processed out of order. So a reply without more jobs counts only if no other reply has reported
        some meanwhile; jobs that arrived after both have left wake-up tokens.
        """
        if more:
            self.expect_jobs()
        elif self.generation == generation:
            self.may_have_jobs = False
        self.later_at = None if later_ms is None else time.monotonic() + later_ms / 1000

    def look_in_s(self) -> float | None:
        """Return the seconds until the next fetch if the type is paused or limited, else None."""
        if not self.free or self.draining:
            return None
        now = time.monotonic()
        ends = (self.paused_until, self.no_thread_until, self.later_at or 0.0)
        return min((each - now for each in ends if each > now), default=None)

    def resize(self, count: int, first_number: int) -> int:
        """Set the number of slots to ``count``, numbering new ones from ``first_number``; return how many are new.

        Surplus slots in use are removed when they become free.
        """
        more = count - self.concurrency
        spared = max(0, min(more, self._retiring))
        self._retiring -= spared
        new = max(0, more - spared)
        self.add(range(first_number, first_number + new), self.newest)
        self._retiring += max(0, -more)
        self.retire()
        return new

    def take(self, count: int) -> list[Slot]:
        """Take up to ``count`` free slots for a call to Redis."""
        taken, self.free = self.free[:count], self.free[count:]
        return taken

    def release(self, slot: Slot) -> None:
        self.free.append(slot)
        self.retire()

    def retire(self) -> None:
        while self._retiring and self.free:
            self.free.pop()
            self._retiring -= 1
            self._total -= 1

    def _is_open(self) -> bool:
        return bool(self.free) and not self.is_held() and self.paused_until <= time.monotonic()
