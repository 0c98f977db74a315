"""An engine's lock, and the threads that wait under it."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from .slots import TypeSlots


class EngineLock:
    """Guards the state of an engine. Waking a thread takes as long as a short job, so frequent events wake few.

    ``fetch_loops`` wait for something to send to Redis, ``blocking_fetcher`` for types to block on, and ``drains`` for
    the last attempt to be acknowledged.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.fetch_loops, self.blocking_fetcher, self.drains = (threading.Condition(self._lock) for _ in range(3))

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def notify_all(self) -> None:
        """Wake all: anything may have changed."""
        for each in (self.fetch_loops, self.blocking_fetcher, self.drains):
            each.notify_all()

    def attempts_ended(self, types: Iterable[TypeSlots]) -> None:
        """Attempts of these types have ended: one fetch loop can send all of that."""
        self.fetch_loops.notify()
        self.reply_processed(types)

    def reply_processed(self, types: Iterable[TypeSlots]) -> None:
        """A reply about these types was processed. Its thread looks for more work itself, or notifies all."""
        if any(each.should_block() for each in types):
            self.blocking_fetcher.notify()
        self.drains.notify_all()
