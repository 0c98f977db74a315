"""Two fetch loops call Redis in turn: during one's call, attempts end and slots become free, and are sent with the
other's call. So ten busy handlers need one round trip for several jobs, and Redis works while they do.

A blocking fetcher waits for the first jobs of types with free slots and no known jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from redis.exceptions import ResponseError

from ..concurrency import green
from ..concurrency.essential import repeat, run_essential
from ..connection.dedicated import DedicatedConnection
from ..storage.keys import Keys
from ..storage.script_values import FetchResult
from .attempts.attempts import Attempts, Ended
from .attempts.engine_lock import EngineLock
from .attempts.execution import Execution
from .attempts.slots import Slot, TypeSlots
from .blocking_fetcher import BlockingFetcher, until_next_look
from .error_reports import ErrorReports
from .fetcher import Fetcher, FetchRequest

#: Seconds until a paused or broken type is fetched again. ``resume`` notifies workers immediately.
PAUSED_S = 1.0
#: Maximum number of concurrent calls to Redis.
FETCH_LOOPS = 2
#: Maximum number of acknowledgements per call, and of slots of a type to fill. With more, handlers would wait longer
#: for Redis, and Redis's other clients for this call.
CALL_MAX = 100
#: Seconds without a job after which a process counts as idle.
IDLE_AFTER_S = 1.0


class FetchLoops:
    """Acknowledges ended attempts, reserves jobs for free slots, and starts them.

    ``types`` and ``lock`` are the engine's. ``engine`` is its name, and the name of the list that interrupts the
    blocking fetcher; fencing tokens start with ``token_prefix``. ``prepare()`` returns when a loop may begin,
    ``delivered()`` is called after the jobs of a reply have started.
    """

    def __init__(
        self,
        types: Mapping[str, TypeSlots],
        lock: EngineLock,
        attempts: Attempts,
        fetcher: Fetcher,
        reports: ErrorReports,
        keys: Keys,
        engine: str,
        token_prefix: str,
        *,
        prepare: Callable[[], object],
        delivered: Callable[[], object],
    ) -> None:
        self._types, self._lock, self._attempts = types, lock, attempts
        self._fetcher, self._reports = fetcher, reports
        self._engine, self._token_prefix, self._calls = engine, token_prefix, 0
        self._prepare, self._delivered = prepare, delivered
        self.is_stopped = False
        #: The loops' calls in progress.
        self._requests: list[FetchRequest] = []
        self._busy_at = -IDLE_AFTER_S
        self.blocking_fetcher = BlockingFetcher(
            fetcher, keys, keys.wake(engine), types, lock, self._request_one_each, self._deliver, self._requeue
        )

    def start(self) -> None:
        for _ in range(FETCH_LOOPS):
            self._spawn(self._fetcher.connection())
        self.blocking_fetcher.start()

    def stop(self) -> None:
        with self._lock:
            self.is_stopped = True
            self._lock.notify_all()
        self.blocking_fetcher.stop()

    def is_idle(self) -> bool:
        """Return whether there was no job for a moment."""
        return time.monotonic() > self._busy_at + IDLE_AFTER_S

    def is_busy(self, job_type: str | None) -> bool:
        """Return whether a job (of a type) may still arrive. For a stop that has drained the types."""
        return any(
            job_type is None or job_type in request.slots for request in self._requests
        ) or self.blocking_fetcher.may_deliver(job_type)

    def may_deliver(self) -> bool:
        """Return whether a call is in progress that may return a job."""
        return self.blocking_fetcher.has_request() or any(request.slots for request in self._requests)

    # A loop

    def _spawn(self, connection: DedicatedConnection) -> None:
        green.spawn(run_essential, "fetch loop", self._run, connection)

    def _run(self, connection: DedicatedConnection) -> None:
        self._prepare()
        repeat("Fetch loop", lambda: self._fetch_once(connection))

    def _fetch_once(self, connection: DedicatedConnection) -> bool:
        wake, request = self._next_request()
        if wake:
            self._fetcher.wake(connection, self._engine)
        if request is None:
            if not wake:
                connection.disconnect()
            return wake
        try:
            result = self._fetcher.fetch(connection, request)
        except Exception:
            self._requeue(request)
            raise
        with green.short_calls(lambda: self._spawn(connection)) as calls:
            self._deliver(request, result)
        return calls.run()  # then short jobs have ended and are sent with the next call

    def _next_request(self) -> tuple[bool, FetchRequest | None]:
        """Wait until a call to Redis is needed; return whether to interrupt the blocking fetcher, and a request.

        Neither: the engine has stopped.
        """
        with self._lock:
            while not self.is_stopped:
                wake = self.blocking_fetcher.claim_interrupt()
                share = self._share(self._attempts.unacknowledged)
                ended = self._attempts.send(share)
                touched = {each.type for each in ended}
                fetching = [
                    known
                    for known in self._types.values()
                    if known.should_fetch() or (known.name in touched and known.free and not known.is_held())
                ]
                if ended or fetching:
                    slots = {known.name: known.take(share if known.name in touched else CALL_MAX) for known in fetching}
                    request = self._make_request(ended, slots)
                    self._requests.append(request)
                    if self._attempts.unacknowledged or any(known.should_fetch() for known in fetching):
                        self._lock.fetch_loops.notify()  # the rest is for another loop
                    return wake, request
                if wake:
                    return True, None
                self._lock.fetch_loops.wait(until_next_look(self._types))
        return False, None

    def _share(self, ended: int) -> int:
        """Return how many acknowledgements to send with the next call: half of them if no other call is in progress.

        With all of them in one call, handlers would wait while Redis works, and Redis while they do.
        """
        return min(CALL_MAX, ended if self._requests else (ended + 1) // 2)

    # Requests and replies

    def _request_one_each(self, types: Iterable[TypeSlots]) -> FetchRequest:
        """Return the blocking fetcher's request: one job of each type. Called under the lock."""
        return self._make_request((), {known.name: known.take(1) for known in types})

    def _make_request(self, ended: Sequence[Ended], slots: dict[str, list[Slot]]) -> FetchRequest:
        self._calls += 1
        generations = {name: self._types[name].generation for name in slots}
        return FetchRequest(ended, slots, generations, f"{self._token_prefix}{self._calls:x}")

    def _requeue(self, request: FetchRequest) -> None:
        """A call failed because of a bug: send its acknowledgements with the next one."""
        with self._lock:
            self._attempts.not_sent(request.ended)
            for name, taken in request.slots.items():
                for slot in taken:
                    self._types[name].release(slot)
                self._types[name].expect_jobs()
            self._remove(request)
            self._lock.notify_all()

    def _deliver(self, request: FetchRequest, result: FetchResult) -> None:
        """Process a reply: start the reserved jobs, free the unused slots."""
        starting: list[Execution] = []
        with self._lock:
            slots = {slot.number: (name, slot) for name, taken in request.slots.items() for slot in taken}
            try:
                self._attempts.acknowledged(request.ended, result.codes)
                for reserved in result.jobs:
                    execution = self._attempts.begin(reserved, slots, result.now_ms, is_stopped=self.is_stopped)
                    if execution is not None:
                        starting.append(execution)
                for name, generation in request.generations.items():
                    known = self._types[name]
                    if name in result.paused or name in result.broken:
                        known.back_off(PAUSED_S, generation)
                    else:
                        known.update(name in result.more, generation, result.later.get(name))
            finally:
                for name, slot in slots.values():
                    self._types[name].release(slot)
                self._remove(request)
                if starting or request.ended:
                    self._busy_at = time.monotonic()
                for execution in starting:
                    self._attempts.spawn(execution)
                self._lock.reply_processed(self._types[name] for name in request.slots)
        self._delivered()
        for name, wrong in result.broken.items():
            if wrong:
                self._reports.report(f"Cannot reserve jobs of type {name}", ResponseError(wrong))

    def _remove(self, request: FetchRequest) -> None:
        self._requests = [each for each in self._requests if each is not request]
