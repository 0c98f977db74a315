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
from .attempts import Ended
from .error_reports import ErrorReports
from .slots import Slot

log = logging.getLogger("kue.worker")


class FetchRequest(NamedTuple):
    """What one call asks for: attempts to acknowledge, and slots to fill, by type.

    ``generations``: those of the types as the call leaves, see TypeSlots.
    """

    ended: Sequence[Ended]
    slots: dict[str, list[Slot]]
    generations: dict[str, int]
    nonce: str


class Fetcher:
    """Makes the calls, each repeated until Redis answers. ``worker`` is the process's name in ``q:workers``."""

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
        #: When to give up on a Redis that is unreachable, monotonic s; None: never.
        self.give_up_at: float | None = None

    def connection(self, answer_s: float = ANSWER_S) -> DedicatedConnection:
        """Return a connection for one thread that fetches."""
        return DedicatedConnection(self._connector, answer_s, kill_previous=True)

    def fetch(self, connection: DedicatedConnection, request: FetchRequest) -> FetchResult:
        """Acknowledge and reserve in one call, which is safe to repeat. If it is given up, the result is empty."""
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
        """Block until there is an element in one of the lists ``keys``, and reserve.

        After a failure the reservation is repeated, by its nonce, without the wait, unless it ``is_unwanted``.
        """

        def attempt(client: Any, again: bool) -> FetchResult:
            if again:
                return self._scripts.reserve(client, self._reservation(request, again))
            return self._scripts.wait_and_reserve(client, keys, block_s, self._reservation(request, again))

        return self._with_retries(connection, request, [], attempt, is_unwanted)

    def wake(self, connection: DedicatedConnection, engine: str) -> None:
        """End the wait of this process's BlockingFetcher."""

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
                    elif again:  # twice in a row, and no waiting cures it: the slots are of more use elsewhere
                        return _nothing(dict.fromkeys(request.slots, ""))
                    wait = True
                again = True
                if wait:
                    green.sleep(pause)
                    pause = min(pause * 2, RETRY_MAX_S)
            else:
                outage.succeeded(began_at)
                # A repeated acknowledgement may find that the first one got through, and the job with another attempt.
                return result._replace(codes=[]) if again else result

    def _acknowledge_singly(self, connection: DedicatedConnection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """A call failed for a reason that is not transient: find the acknowledgement that it was, and save the others.

        Returns those that are still to be made: Redis became unreachable, or allows this worker nothing at all.
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
    """Return the empty result of a call that was given up, with the types to leave alone for a while."""
    return FetchResult(0, [], [], [], [], broken)
