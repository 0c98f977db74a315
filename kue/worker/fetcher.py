"""A worker's calls to Redis: one acknowledges the attempts that ended and reserves jobs for the free slots."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.exceptions import AuthenticationError, NoPermissionError

from ..concurrency import green
from ..connection.client_factory import ANSWER_S
from ..connection.connector import Connector
from ..connection.dedicated import DedicatedConnection
from ..connection.failures import RETRY_FIRST_S, RETRY_MAX_S, is_transient
from ..storage.script_values import FetchResult, Outcome, Reservation
from ..storage.scripts import Scripts
from .attempts.attempts import Ended
from .attempts.slots import Slot
from .error_reports import ErrorReports

log = logging.getLogger("kue.worker")


class FetchRequest(NamedTuple):
    """The contents of one call: attempts to acknowledge, and slots to fill, by type.

    ``generations``: the types' generations when the call is sent; see TypeSlots.
    """

    ended: Sequence[Ended]
    slots: dict[str, list[Slot]]
    generations: dict[str, int]
    nonce: str


class Fetcher:
    """Makes the calls and repeats each until Redis replies. ``worker`` is the process's name in ``q:workers``."""

    def __init__(
        self,
        connector: Connector,
        scripts: Scripts,
        worker: str,
        lease_ms: int,
        reports: ErrorReports,
    ) -> None:
        self._connector, self._scripts, self._worker = connector, scripts, worker
        self._lease_ms, self._reports = lease_ms, reports
        #: When to give up on an unreachable Redis, monotonic s; None: never.
        self.give_up_at: float | None = None

    def connection(self, answer_s: float = ANSWER_S) -> DedicatedConnection:
        """Return a connection for one fetching thread."""
        return DedicatedConnection(self._connector, answer_s, kill_previous=True)

    def fetch(self, connection: DedicatedConnection, request: FetchRequest) -> FetchResult:
        """Acknowledge and reserve in one call, repeated until Redis replies. After giving up, the result is empty."""
        outcomes = [outcome for _, outcome in request.ended]

        def attempt(client: Any, again: bool) -> FetchResult:
            return self._scripts.finish_and_reserve(client, outcomes, self._reservation(request, again))

        return self._with_retries(connection, request, outcomes, attempt)

    def block_and_fetch(
        self,
        connection: DedicatedConnection,
        request: FetchRequest,
        keys: Sequence[str],
        block_s: float,
        is_unwanted: Callable[[], bool],
    ) -> FetchResult:
        """Block until one of the lists ``keys`` has an element, then reserve.

        After a failure the reservation is repeated with the same nonce and without blocking, unless ``is_unwanted()``.
        """

        def attempt(client: Any, again: bool) -> FetchResult:
            if again:
                return self._scripts.reserve(client, self._reservation(request, again))
            return self._scripts.wait_and_reserve(client, keys, block_s, self._reservation(request, again))

        return self._with_retries(connection, request, [], attempt, is_unwanted)

    def wake(self, connection: DedicatedConnection, engine: str) -> None:
        """Interrupt this process's BlockingFetcher."""

        def attempt(client: Any, again: bool) -> FetchResult:
            self._scripts.wake(client, engine)
            return _nothing({})

        self._with_retries(connection, FetchRequest([], {}, {}, ""), [], attempt)

    def _reservation(self, request: FetchRequest, again: bool) -> Reservation:
        slots = {name: [slot.number for slot in taken] for name, taken in request.slots.items()}
        return Reservation(slots, self._lease_ms, request.nonce, self._worker, again)

    def _with_retries(
        self,
        connection: DedicatedConnection,
        request: FetchRequest,
        outcomes: list[Outcome],
        attempt: Callable[[Any, bool], FetchResult],
        is_unwanted: Callable[[], bool] = lambda: False,
    ) -> FetchResult:
        again, pause, outage = False, RETRY_FIRST_S, self._connector.outage
        while True:
            began_at = time.monotonic()
            try:
                result = attempt(connection.client, again)
            except Exception as exc:
                connection.disconnect()
                if is_unwanted():
                    return _nothing({})
                if self.give_up_at is not None and time.monotonic() > self.give_up_at:
                    log.error(
                        "Shutting down without %d acknowledgements, because Redis is unreachable; "
                        "those jobs run again when their leases expire",
                        len(outcomes),
                    )
                    return _nothing({})
                if is_transient(exc):
                    wait = outage.failed(exc, connection.opened_at)
                else:
                    self._reports.report("Redis refused a worker's call", exc)
                    if outcomes:
                        outcomes[:] = self._acknowledge_singly(connection, outcomes)
                    elif again:  # failed twice in a row, and waiting does not help: free the slots for other types
                        return _nothing(dict.fromkeys(request.slots, ""))
                    wait = True
                again = True
                if wait:
                    green.sleep(pause)
                    pause = min(pause * 2, RETRY_MAX_S)
            else:
                outage.succeeded(began_at)
                # If the first acknowledgement got through, the repeated one may find the job in its next attempt.
                return result._replace(codes=[]) if again else result

    def _acknowledge_singly(self, connection: DedicatedConnection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """After a permanent failure, acknowledge one by one, so that only the offending acknowledgement is lost.

        Returns those still to be sent, if Redis became unreachable or permits this worker no call at all.
        """
        for at, outcome in enumerate(outcomes):
            try:
                self._scripts.acknowledge(connection.client, outcome)
            except Exception as exc:
                connection.disconnect()
                if is_transient(exc) or isinstance(exc, (AuthenticationError, NoPermissionError)):
                    return list(outcomes[at:])
                self._reports.report(f"Cannot {outcome.verb} job {outcome.job_id}", exc)
        return []


def _nothing(broken: dict[str, str]) -> FetchResult:
    """Return the empty result of a call that was given up. Its types are not fetched for a while."""
    return FetchResult(0, [], [], [], [], broken)
