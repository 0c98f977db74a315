"""Renew leases from an OS thread, so that a handler that blocks the hub keeps its job."""

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

#: Maximum delay before a failed heartbeat is retried, seconds: leases must be renewed before they expire.
AGAIN_S = 0.5
#: Number of tries for the final call: the connection may have been lost since the last heartbeat.
LAST_TRIES = 2
#: Seconds that ``stop`` waits for the thread.
STOP_S = 3.0


class Heartbeat:
    """Renews the leases of all running jobs of a process in one call, three times per lease.

    ``leases()`` returns their fencing tokens by job id; ``lost`` is called with those that Redis no longer holds. Both
    are called in the heartbeat's thread and must not wait for a green lock. ``also(client)`` is called at each
    heartbeat.
    """

    def __init__(
        self,
        connector: Connector,
        scripts: Scripts,
        lease_ms: int,
        leases: Callable[[], dict[str, str]],
        lost: Callable[[dict[str, str]], object],
        also: Callable[[Any], object] | None = None,
    ) -> None:
        self._connection = DedicatedConnection(connector, min(5.0, lease_ms / 3000))
        self._scripts, self._lease_ms, self._also = scripts, lease_ms, also
        self._leases, self._lost = leases, lost
        self._wake = green.real_event()
        self._stopping = False
        self._last: Callable[[Any], object] | None = None
        self._started = self._ended = False
        self._is_failing = self._is_unregistered = False
        #: Set after the first heartbeat: before that, this process's jobs could not be attributed to it.
        self.has_beaten = False

    def start(self) -> None:
        if not self._started:
            self._started = True
            green.real_thread(run_essential, "heartbeat", self._run)

    def stop(self, last: Callable[[Any], object] | None = None) -> None:
        """End the thread. ``last(client)`` is its final call, after any heartbeat in progress.

        Waits up to a limit: an OS thread still running when the interpreter exits may crash it.
        """
        self._last, self._stopping = last, True
        self._wake.set()
        give_up = time.monotonic() + STOP_S
        while self._started and not self._ended and time.monotonic() < give_up:
            green.sleep(0.005)

    def beat_now(self) -> None:
        """Trigger a heartbeat now; from any thread."""
        self._wake.set()

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
        """Register this process. If Redis refuses, its jobs still run, and are rescued when their leases expire."""
        assert self._also is not None
        try:
            self._also(client)
        except ResponseError as exc:
            if is_transient(exc):
                raise
            if not self._is_unregistered:
                log.warning("Cannot register this worker, so the monitor does not show it: %s", exc)
                self._is_unregistered = True

    def beat(self) -> bool:
        """Renew all leases once; return whether that succeeded. The engine reports an unreachable Redis."""
        try:
            tokens = self._leases()
            if tokens:
                lost = self._scripts.renew(self._connection.client, tokens.items(), lease_ms=self._lease_ms)
                if lost:
                    self._lost({job_id: tokens[job_id] for job_id in lost})
            if self._also is not None:
                self._register(self._connection.client)
            self.has_beaten = True
        except Exception as exc:  # any error: without this thread all leases would expire
            self._connection.disconnect()
            if not is_transient(exc) and not self._is_failing:
                log.exception("Heartbeat failed; leases are renewed once it succeeds")
                self._is_failing = True
            return False
        self._is_failing = False
        return True
