"""The engine's calls to Redis: one acknowledges attempts that ended and reserves jobs for the slots that are free."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from . import green
from .connect import ANSWER_S, RETRY_FIRST_S, RETRY_MAX_S, Connector, Link, is_transient
from .execution import Execution, handed_back
from .scripts import Outcome, Reserved, Scripts, Turn
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

    def link(self, answer_s: float = ANSWER_S) -> Link:
        """Return a connection for one pump, or for the waiter."""
        return Link(self._connector, answer_s, fenced=True)

    def call(self, link: Link, ask: Ask) -> Turn:
        """Say it until Redis has answered: repeating is safe, by token and nonce. Given up, it brought nothing."""
        outcomes = [outcome for _, outcome in ask.outcomes]

        def attempt(client: Any, again: bool) -> Turn:
            return self._scripts.finish_and_reserve(client, outcomes, again=again, **self._reservation(ask))

        return self._repeated(link, outcomes, attempt)

    def wait(
        self, link: Link, ask: Ask, token_keys: Sequence[str], block_s: float, forsaken: Callable[[], bool]
    ) -> tuple[str | None, Turn]:
        """Wait for a token and reserve; return the key of the token, if there was one in time, and what it brought.

        After a failure it is found out, by the nonce, whether the reservation was made, unless it is ``forsaken``.
        """
        token = None

        def attempt(client: Any, again: bool) -> Turn:
            nonlocal token
            if again:
                return self._scripts.reserve(client, again=True, **self._reservation(ask))
            token, turn = self._scripts.wait_and_reserve(client, token_keys, block_s, **self._reservation(ask))
            return turn

        turn = self._repeated(link, [], attempt, forsaken)
        return token, turn

    def release(self, link: Link, unwanted: Sequence[Reserved]) -> None:
        """Hand back jobs that came when nobody here takes them any more, if Redis answers."""
        for reserved in unwanted:
            outcome = handed_back(reserved.job_id, reserved.token, "its worker takes no more")
            try:
                self._scripts.acknowledge(link.client, outcome)
            except (RedisError, OSError):
                link.drop()

    def _reservation(self, ask: Ask) -> dict[str, Any]:
        wants = {name: [slot.number for slot in slots] for name, slots in ask.slots.items()}
        return {"wants": wants, "lease_ms": self._lease_ms, "nonce": ask.nonce, "worker": self._worker}

    def _repeated(
        self,
        link: Link,
        outcomes: list[Outcome],
        attempt: Callable[[Any, bool], Turn],
        forsaken: Callable[[], bool] = lambda: False,
    ) -> Turn:
        again, pause, outage = False, RETRY_FIRST_S, self._connector.outage
        while True:
            began_at = time.monotonic()
            try:
                turn = attempt(link.client, again)
            except Exception as exc:
                link.drop()
                again = True
                if forsaken():
                    return Turn(0, [], [], [])
                if self.give_up_at is not None and time.monotonic() > self.give_up_at:
                    log.error("gave up on %d acknowledgements: Redis was away until the end", len(outcomes))
                    return Turn(0, [], [], [])
                away = outage.away(exc, link.opened_at)
                if not is_transient(exc) and outcomes:
                    self._acknowledge_singly(link, outcomes)
                    outcomes.clear()
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
