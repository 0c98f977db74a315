"""What the engine knows of one job type: its slots, and whether to ask for jobs. Guarded by the engine's lock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Slot(NamedTuple):
    """The right to run one job at a time; its number is the last part of a job's workerId."""

    number: int
    handler: Callable[..., Any]
    arity: int


class TypeSlots:
    """The slots of one type in this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.free: list[Slot] = []
        self.hungry = True  #: whether a reservation is worth a call
        self.signals = 0  #: how often it was learnt that jobs may wait: news while a call was under way
        self.quiet = False
        self.paused_until = 0.0
        self._total = 0  #: slots in all, free or not
        self._retiring = 0  #: slots to take away as soon as they are free
        self._newest: tuple[Callable[..., Any], int]  #: handler and arity that further slots get

    @property
    def concurrency(self) -> int:
        return self._total - self._retiring

    def wants(self) -> bool:
        """Tell whether to ask Redis for jobs."""
        return self._is_open() and self.hungry

    def waits(self) -> bool:
        """Tell whether to wait for a token, since there were no jobs when last asked."""
        return self._is_open() and not self.hungry

    def add(self, numbers: range, handler: Callable[..., Any], arity: int) -> None:
        self.free += [Slot(number, handler, arity) for number in numbers]
        self._total += len(numbers)
        self._newest = (handler, arity)
        self.ask_again()

    def ask_again(self) -> None:
        """There may be jobs: a reservation is worth a call, whatever the answers say to calls that are under way."""
        self.hungry, self.paused_until = True, 0.0
        self.signals += 1

    def hold_off(self, seconds: float, signals: int) -> None:
        """Make no call for some seconds, unless there is news since one was made, with so many signals before."""
        self.hungry = True
        if self.signals == signals:
            self.paused_until = time.monotonic() + seconds

    def take_answer(self, more: bool, signals: int) -> None:
        """Learn from the answer to a call, made with so many signals before, whether jobs still wait.

        Answers may be taken in in another order than they were given. So one that knows of no more jobs counts only
        if no other has told of some meanwhile; jobs that came after both have left tokens.
        """
        if more:
            self.ask_again()
        elif self.signals == signals:
            self.hungry = False

    def resize(self, count: int, first_number: int) -> int:
        """Have ``count`` slots, new ones numbered from ``first_number`` on; return how many are new.

        Slots in use go when they are free.
        """
        more = count - self.concurrency
        spared = max(0, min(more, self._retiring))
        self._retiring -= spared
        new = max(0, more - spared)
        self.add(range(first_number, first_number + new), *self._newest)
        self._retiring += max(0, -more)
        self.retire()
        return new

    def lend(self, count: int | None = None) -> list[Slot]:
        """Give away free slots for a call to Redis, ``count`` of them or all."""
        count = len(self.free) if count is None else count
        lent, self.free = self.free[:count], self.free[count:]
        return lent

    def give_back(self, slot: Slot) -> None:
        self.free.append(slot)
        self.retire()

    def retire(self) -> None:
        while self._retiring and self.free:
            self.free.pop()
            self._retiring -= 1
            self._total -= 1

    def _is_open(self) -> bool:
        return bool(self.free) and not self.quiet and self.paused_until <= time.monotonic()
