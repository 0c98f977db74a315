"""The engine's calls to Redis: one acknowledges attempts that ended and reserves jobs for the slots that are free."""

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
from .error_reports import ErrorReports
from .slots import Slot

log = logging.getLogger("kue.worker")


class Ask(NamedTuple):
    """One call to Redis: outcomes to acknowledge, each with its type, and slots to fill, with the signals before it."""

    outcomes: list[tuple[str, Outcome]]
    slots: dict[str, list[Slot]]
    signals: dict[str, int]
    nonce: str


class Caller:
    """Makes the calls, each as often as it takes. ``worker`` is the process's name in ``q:workers``."""

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
        #: When to give up on a Redis that is away, monotonic s; None: never.
        self.give_up_at: float | None = None

    def connection(self, answer_s: float = ANSWER_S) -> DedicatedConnection:
        """Return a connection for one pump, or for the waiter."""
        return DedicatedConnection(self._connector, answer_s, kill_previous=True)

    def call(self, connection: DedicatedConnection, ask: Ask) -> FetchResult:
        """Say it until Redis has answered: repeating is safe, by token and nonce. Given up, it brought nothing."""
        outcomes = [outcome for _, outcome in ask.outcomes]

        def attempt(client: Any, again: bool) -> FetchResult:
            return self._scripts.finish_and_reserve(client, outcomes, self._reservation(ask, again))

        return self._repeated(connection, ask, outcomes, attempt)

    def wait(
        self,
        connection: DedicatedConnection,
        ask: Ask,
        keys: Sequence[str],
        block_s: float,
        forsaken: Callable[[], bool],
    ) -> FetchResult:
        """Wait for an element in one of the lists and reserve; return what that brought.

        After a failure it is found out, by the nonce, whether the reservation was made, unless it is ``forsaken``.
        """

        def attempt(client: Any, again: bool) -> FetchResult:
            if again:
                return self._scripts.reserve(client, self._reservation(ask, again))
            return self._scripts.wait_and_reserve(client, keys, block_s, self._reservation(ask, again))

        return self._repeated(connection, ask, [], attempt, forsaken)

    def wake(self, connection: DedicatedConnection, engine: str) -> None:
        """End the wait of this process's waiter."""

        def attempt(client: Any, again: bool) -> FetchResult:
            self._scripts.wake(client, engine)
            return _nothing({})

        self._repeated(connection, Ask([], {}, {}, ""), [], attempt)

    def _reservation(self, ask: Ask, again: bool) -> Reservation:
        slots = {name: [slot.number for slot in lent] for name, lent in ask.slots.items()}
        return Reservation(slots, self._lease_ms, ask.nonce, self._worker, again)

    def _repeated(
        self,
        connection: DedicatedConnection,
        ask: Ask,
        outcomes: list[Outcome],
        attempt: Callable[[Any, bool], FetchResult],
        forsaken: Callable[[], bool] = lambda: False,
    ) -> FetchResult:
        again, pause, outage = False, RETRY_FIRST_S, self._connector.outage
        while True:
            began_at = time.monotonic()
            try:
                turn = attempt(connection.client, again)
            except Exception as exc:
                connection.disconnect()
                if forsaken():
                    return _nothing({})
                if self.give_up_at is not None and time.monotonic() > self.give_up_at:
                    log.error("gave up on %d acknowledgements: Redis was away until the end", len(outcomes))
                    return _nothing({})
                if is_transient(exc):
                    wait = outage.away(exc, connection.opened_at)
                else:
                    self._reports.tell("a worker's call to Redis failed", exc)
                    if outcomes:
                        outcomes[:] = self._acknowledge_singly(connection, outcomes)
                    elif again:  # twice in a row, and no waiting cures it: the slots are of more use elsewhere
                        return _nothing(dict.fromkeys(ask.slots, ""))
                    wait = True
                again = True
                if wait:
                    green.sleep(pause)
                    pause = min(pause * 2, RETRY_MAX_S)
            else:
                outage.back(began_at)
                # A repeated acknowledgement may find that the first one got through, and the job with another attempt.
                return turn._replace(codes=[]) if again else turn

    def _acknowledge_singly(self, connection: DedicatedConnection, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """A call failed for a reason that will not pass: find the acknowledgement that it was, and save the others.

        Returns those that are still to be said: Redis went away in between, or lets this worker say nothing at all.
        """
        for at, outcome in enumerate(outcomes):
            try:
                self._scripts.acknowledge(connection.client, outcome)
            except Exception as exc:
                connection.disconnect()
                if is_transient(exc) or isinstance(exc, (AuthenticationError, NoPermissionError)):
                    return list(outcomes[at:])
                self._reports.tell(f"{outcome.verb} job {outcome.job_id} failed", exc)
        return []


def _nothing(broken: dict[str, str]) -> FetchResult:
    """Return what a call brought that was given up, with the types that are to be left alone for a while."""
    return FetchResult(0, [], [], [], [], broken)
