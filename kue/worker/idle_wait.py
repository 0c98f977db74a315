"""Waits for work: blocks on the tokens of the types that have free slots and, as far as is known, no jobs.

Behind the wait lies a reservation for one free slot of each of these types, at the server already when the token comes:
so the first job of an idle worker takes no further round trip. The pumps ask for what else there may be.

What it waits for may change while it does. One more key that it blocks on is a list of this process's own: a pump that
sees the change puts an element there. The element stays until it is taken, so it cannot come too early and be lost, as
CLIENT UNBLOCK can, and it needs no permission beyond the queue's keys.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping

from ..concurrency import green
from ..concurrency.essential import repeat, run_essential
from ..connection.client_factory import ANSWER_S
from ..connection.dedicated import DedicatedConnection
from ..storage.keys import Keys
from ..storage.script_values import FetchResult
from .round_trip import Ask, Caller
from .slots import TypeSlots

#: Seconds that it blocks at most; after that its reservation finds jobs whose token was lost.
BLOCK_S = 1.0
#: Seconds that a stop waits for it: a server that is away never answers.
LEAVE_S = 2.0


class Waiter:
    """One blocking connection for all types of a process. ``types`` and ``cond`` are the engine's.

    ``lend(types)`` gives the question for one slot of each; ``take(ask, turn)`` starts what it brought, and
    ``take_back(ask)`` is for one that could not be asked.
    """

    def __init__(
        self,
        caller: Caller,
        keys: Keys,
        wake_key: str,
        types: Mapping[str, TypeSlots],
        cond: threading.Condition,
        lend: Callable[[Iterable[TypeSlots]], Ask],
        take: Callable[[Ask, FetchResult], None],
        take_back: Callable[[Ask], None],
    ) -> None:
        self._caller, self._keys, self._wake_key = caller, keys, wake_key
        self._types, self._cond, self._lend = types, cond, lend
        self._take, self._take_back = take, take_back
        self._ask: Ask | None = None
        self._left_at = 0.0
        #: Names of the types that it blocks on now.
        self.blocking: set[str] = set()
        self._woken = False
        self._stopped = False

    def start(self) -> None:
        green.spawn(run_essential, "waiter", self._run)

    def stop(self) -> None:
        with self._cond:
            self._stopped = True
            self._cond.notify_all()

    def expect_leave(self) -> None:
        """Note that types became quiet: it is about to be woken, and ``holds`` waits for it for LEAVE_S."""
        self._left_at = time.monotonic()

    def holds(self, job_type: str | None) -> bool:
        """Tell whether a job (of a type) may just be coming, for a stop that has made the types quiet."""
        ask = self._ask
        return ask is not None and job_type in (None, *ask.slots) and time.monotonic() - self._left_at < LEAVE_S

    def claim_wake(self) -> bool:
        """Tell, once for each wait, whether it waits for other types than it should; called under the lock.

        Who is told so must wake it. Whatever changes a type need only notify the pumps, which ask here each time.
        """
        if not self.blocking or self._woken:
            return False
        self._woken = any(
            known.quiet if name in self.blocking else known.waits() for name, known in self._types.items()
        )
        return self._woken

    def _run(self) -> None:
        connection = self._caller.connection(BLOCK_S + ANSWER_S)
        repeat("the wait for jobs", lambda: self._step(connection))
        connection.disconnect()

    def _step(self, connection: DedicatedConnection) -> bool:
        ask = self._choose()
        if ask is None:
            return False
        keys = [self._wake_key, *(self._keys.tokens(name) for name in ask.slots)]
        turn = None
        try:
            turn = self._caller.wait(connection, ask, keys, BLOCK_S, self._forsaken)
        finally:
            with self._cond:
                self.blocking, self._woken = set(), False
            try:
                if turn is None:
                    self._take_back(ask)
                else:
                    self._take(ask, turn)
            finally:
                with self._cond:
                    self._ask = None
                    self._cond.notify_all()
        if turn.jobs:
            green.sleep()  # the handler goes first
        return True

    def _choose(self) -> Ask | None:
        """Wait until there is a type to wait for; return the question for these, None after ``stop``."""
        with self._cond:
            while not self._stopped:
                waiting = [each for each in self._types.values() if each.waits()]
                if waiting:
                    self.blocking = {each.name for each in waiting}
                    self._ask = self._lend(waiting)
                    return self._ask
                self._cond.wait(BLOCK_S)
        return None

    def _forsaken(self) -> bool:
        """Tell whether nobody wants a job any more."""
        return self._stopped or all(each.quiet for each in self._types.values())


def until_paused_ends(types: Mapping[str, TypeSlots]) -> float | None:
    """Return the seconds until a paused type is worth asking for again, None if none is paused."""
    now = time.monotonic()
    ends = [each.paused_until - now for each in types.values() if each.paused_until > now]
    return max(0.01, min(ends)) if ends else None
