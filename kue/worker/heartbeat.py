"""Leases are renewed from a true thread, so that a handler which blocks the hub keeps its job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from ..concurrency import green
from ..concurrency.essential import run_essential
from ..connection.connector import Connector
from ..connection.dedicated import DedicatedConnection
from ..connection.failures import is_transient
from ..storage.scripts import Scripts

log = logging.getLogger("kue.heartbeat")

#: Seconds until a beat that failed is tried again, at most: leases must be renewed before anybody thinks them lapsed.
AGAIN_S = 0.5
#: Tries of what is done last: the connection may have been lost since the last beat.
LAST_TRIES = 2
#: Seconds that ``stop`` waits for the thread.
STOP_S = 3.0


class Heartbeat:
    """Renews the leases of all running jobs of a process in one call, each third of the lease.

    ``tokens`` (id -> token) is filled by the engine; ``lost`` is called, in the heartbeat's thread, with the ids that
    Redis says are held no more. Whoever gives it hands the news on and returns: nothing there may wait on a green lock.
    """

    def __init__(
        self,
        connector: Connector,
        scripts: Scripts,
        lease_ms: int,
        lost: Callable[[list[str]], object],
        also: Callable[[Any], object] | None = None,
    ) -> None:
        self.tokens: dict[str, str] = {}
        self._connection = DedicatedConnection(connector, min(5.0, lease_ms / 3000))
        self._scripts, self._lease_ms, self._lost, self._also = scripts, lease_ms, lost, also
        self._wake = green.real_event()
        self._stopping = False
        self._last: Callable[[Any], object] | None = None
        self._started = self._ended = False
        self._is_failing = self._is_unregistered = False
        #: Whether it has beaten once: before that, nobody would know whose a dead process's jobs were.
        self.known = False

    def start(self) -> None:
        if not self._started:
            self._started = True
            green.real_thread(run_essential, "heartbeat", self._run)

    def stop(self, last: Callable[[Any], object] | None = None) -> None:
        """End the thread; ``last(client)`` is what it does at the end, after any beat under way.

        Waits for it, for a bounded time: a true thread that still runs when the interpreter ends may crash it.
        """
        self._last, self._stopping = last, True
        self._wake.set()
        give_up = time.monotonic() + STOP_S
        while self._started and not self._ended and time.monotonic() < give_up:
            green.sleep(0.005)

    def beat_soon(self) -> None:
        """Let the thread beat now, from whatever thread this is called: its connection is its own."""
        self._wake.set()

    def forget(self, job_id: str, token: str) -> None:
        """Renew an attempt's lease no more. The job's next attempt may be here already: its entry stays."""
        if self.tokens.get(job_id) == token:
            del self.tokens[job_id]

    def _run(self) -> None:
        while not self._stopping:
            pause_s = self._lease_ms / 3000
            self._wake.wait(pause_s if self.beat() else min(AGAIN_S, pause_s))
            self._wake.clear()
        for _ in range(LAST_TRIES):
            try:
                if self._last is not None:
                    self._last(self._connection.client)
                break
            except (RedisError, OSError):
                self._connection.disconnect()
        self._connection.disconnect()
        self._ended = True

    def _register(self, client: Any) -> None:
        """Say who works here. Where that is refused, jobs are worked all the same, and a lease tells of a death."""
        assert self._also is not None
        try:
            self._also(client)
        except ResponseError as exc:
            if is_transient(exc):
                raise
            if not self._is_unregistered:
                log.warning("this worker cannot be registered, so pages do not show it: %s", exc)
                self._is_unregistered = True

    def beat(self) -> bool:
        """Renew all leases once; return whether that worked. A Redis that is away is the engine's to report."""
        held = list(self.tokens.items())  # one step of the interpreter: other threads may be writing
        try:
            if held:
                lost = self._scripts.renew(self._connection.client, held, lease_ms=self._lease_ms)
                if lost:
                    self._lost([job_id for job_id in lost if self.tokens.get(job_id) == dict(held)[job_id]])
            if self._also is not None:
                self._register(self._connection.client)
            self.known = True
        except Exception as exc:  # whatever it was: without this thread all leases would lapse
            self._connection.disconnect()
            if not is_transient(exc) and not self._is_failing:
                log.exception("the heartbeat fails; leases are renewed as soon as it does not")
                self._is_failing = True
            return False
        self._is_failing = False
        return True
