"""The engine's calls to Redis: one acknowledges attempts that ended and reserves jobs for the slots that are free."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from . import green
from .connect import RETRY_FIRST_S, RETRY_MAX_S, Connector, Link, is_transient
from .execution import Execution
from .scripts import Outcome, Scripts, Turn
from .slots import Slot

log = logging.getLogger("kue.worker")


class Ask(NamedTuple):
    """One call to Redis: outcomes to acknowledge and slots to fill, by type, with the signals seen before."""

    outcomes: list[tuple[Execution, Outcome]]
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
        on_error: Callable[[BaseException], object],
    ) -> None:
        self._connector, self._scripts, self._worker = connector, scripts, worker
        self._lease_ms, self._on_error = lease_ms, on_error
        #: When to give up on a Redis that is away, monotonic s; None: never.
        self.give_up_at: float | None = None

    def link(self) -> Link:
        """Return a connection for one pump."""
        return Link(self._connector, fenced=True)

    def call(self, link: Link, ask: Ask) -> Turn:
        """Say it until Redis has answered: repeating is safe, by token and nonce. Given up, it brought nothing."""
        wants = {name: [slot.number for slot in slots] for name, slots in ask.slots.items()}
        outcomes = [outcome for _, outcome in ask.outcomes]
        again, pause, outage = False, RETRY_FIRST_S, self._connector.outage
        while True:
            began_at = time.monotonic()
            try:
                turn = self._scripts.finish_and_reserve(
                    link.client,
                    outcomes,
                    wants,
                    lease_ms=self._lease_ms,
                    nonce=ask.nonce,
                    worker=self._worker,
                    again=again,
                )
            except Exception as exc:
                link.drop()
                again = True
                if self.give_up_at is not None and time.monotonic() > self.give_up_at:
                    log.error("gave up on %d acknowledgements: Redis was away until the end", len(outcomes))
                    return Turn(0, [], [], [])
                away = outage.away(exc, link.opened_at)
                if not is_transient(exc) and outcomes:
                    self._acknowledge_singly(link, outcomes)
                    outcomes = []
                if away:
                    green.sleep(pause)
                    pause = min(pause * 2, RETRY_MAX_S)
            else:
                outage.back(began_at)
                # A repeated acknowledgement may find that the first one got through, and the job with another attempt.
                return turn._replace(codes=[]) if again else turn

    def _acknowledge_singly(self, link: Link, outcomes: Sequence[Outcome]) -> None:
        """A call failed for a reason that will not pass: find the acknowledgement that it was, and save the others."""
        for outcome in outcomes:
            try:
                self._scripts.acknowledge(link.client, outcome)
            except RedisError as exc:
                link.drop()
                log.error("%s job %s failed: %s", outcome.verb, outcome.job_id, exc)
                self._on_error(exc)
