"""Fetch the first jobs of idle types: block on their wake-up tokens while they have free slots and no known jobs.

A reservation for one free slot of each of these types is pipelined behind the blocking call, so an idle worker's first
job needs no further round trip. The fetch loops fetch any further jobs.

When the set of types to block on changes, a fetch loop interrupts the wait by pushing an element to a list of this
process, which is one of the keys blocked on. Unlike CLIENT UNBLOCK, the element cannot come too early and be lost, and
it needs no permission beyond the queue's keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from ..concurrency import green
from ..concurrency.essential import repeat, run_essential
from ..connection.client_factory import ANSWER_S
from ..connection.dedicated import DedicatedConnection
from ..storage.keys import Keys
from ..storage.script_values import FetchResult
from .attempts.engine_lock import EngineLock
from .attempts.slots import TypeSlots
from .fetcher import Fetcher, FetchRequest

#: Longest blocking time, seconds. The reservation that follows finds jobs whose wake-up token was lost.
BLOCK_S = 1.0
#: Shortest blocking time, seconds: 0 would block forever.
BLOCK_MIN_S = 0.001
#: Seconds that a stop waits for an interrupted wait to end: an unreachable server never replies.
INTERRUPT_S = 2.0


class BlockingFetcher:
    """One blocking connection for all types of a process. ``types`` and ``lock`` are the engine's.

    ``request_one_each(types)`` returns the request for one slot of each type. ``deliver(request, result)`` starts the
    jobs of a reply; ``requeue(request)`` handles a failed request.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        keys: Keys,
        wake_key: str,
        types: Mapping[str, TypeSlots],
        lock: EngineLock,
        request_one_each: Callable[[Iterable[TypeSlots]], FetchRequest],
        deliver: Callable[[FetchRequest, FetchResult], None],
        requeue: Callable[[FetchRequest], None],
    ) -> None:
        self._fetcher, self._keys, self._wake_key = fetcher, keys, wake_key
        self._types, self._lock = types, lock
        self._request_one_each, self._deliver, self._requeue = request_one_each, deliver, requeue
        self._request: FetchRequest | None = None
        self._interrupted_at = 0.0
        #: Names of the types it is blocking on.
        self.blocking: set[str] = set()
        self._is_interrupted = False
        self._stopped = False

    def start(self) -> None:
        self._spawn(self._fetcher.connection(BLOCK_S + ANSWER_S))

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._lock.notify_all()

    def expect_interrupt(self) -> None:
        """Record that types are draining: the wait will be interrupted, within INTERRUPT_S."""
        self._interrupted_at = time.monotonic()

    def has_request(self) -> bool:
        """Return whether a call that may return a job is in progress. Called under the lock."""
        return self._request is not None

    def may_deliver(self, job_type: str | None) -> bool:
        """Return whether a job (of a type) may still arrive. For a stop that has drained the types."""
        request = self._request
        if request is None or job_type not in (None, *request.slots):
            return False
        return time.monotonic() - self._interrupted_at < INTERRUPT_S

    def claim_interrupt(self) -> bool:
        """Return, once per wait, whether it blocks on the wrong types; the caller must then interrupt it.

        Called under the lock. Code that changes a type only notifies the fetch loops: they call this each time.
        """
        if not self.blocking or self._is_interrupted:
            return False
        self._is_interrupted = any(
            known.is_held() if name in self.blocking else known.should_block() for name, known in self._types.items()
        )
        return self._is_interrupted

    def _spawn(self, connection: DedicatedConnection) -> None:
        green.spawn(run_essential, "blocking fetcher", self._run, connection)

    def _run(self, connection: DedicatedConnection) -> None:
        repeat("Blocking fetcher", lambda: self._fetch_once(connection))

    def _fetch_once(self, connection: DedicatedConnection) -> bool:
        request = self._next_request()
        if request is None:
            connection.disconnect()
            return False
        keys = [self._wake_key, *(self._keys.tokens(name) for name in request.slots)]
        result = None
        try:
            result = self._fetcher.block_and_fetch(connection, request, keys, self._block_s(request), self._is_unwanted)
        finally:
            with self._lock:
                self.blocking, self._is_interrupted = set(), False
            try:
                with green.short_calls(lambda: self._spawn(connection)) as calls:
                    if result is None:
                        self._requeue(request)
                    else:
                        self._deliver(request, result)
            finally:
                with self._lock:
                    self._request = None
                    self._lock.notify_all()
        return calls.run()  # the handlers go first

    def _next_request(self) -> FetchRequest | None:
        """Wait until there are types to block on; return the request for them, or None after ``stop``."""
        with self._lock:
            while not self._stopped:
                idle = [each for each in self._types.values() if each.should_block()]
                if idle:
                    self.blocking = {each.name for each in idle}
                    self._request = self._request_one_each(idle)
                    return self._request
                self._lock.blocking_fetcher.wait(BLOCK_S)
        return None

    def _block_s(self, request: FetchRequest) -> float:
        """Return how long to block, seconds: at most until a limit lets more jobs start."""
        ends = [self._types[name].later_at for name in request.slots]
        left = min((each for each in ends if each is not None), default=float("inf")) - time.monotonic()
        return max(BLOCK_MIN_S, min(BLOCK_S, round(left, 3)))

    def _is_unwanted(self) -> bool:
        """Return whether no type takes jobs any more."""
        return self._stopped or all(each.draining for each in self._types.values())


def until_next_look(types: Mapping[str, TypeSlots]) -> float | None:
    """Return the seconds until a paused or limited type is fetched again, None if there is none."""
    ends = [seconds for each in types.values() if (seconds := each.look_in_s()) is not None]
    return max(0.001, min(ends)) if ends else None
