"""Periodic maintenance of the whole queue, done by any process with workers: promote, time out, rescue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from redis.exceptions import RedisError

from .. import backoff
from ..concurrency import green
from ..concurrency.essential import run_essential
from ..connection.connector import Connector
from ..connection.dedicated import DedicatedConnection
from ..connection.failures import is_transient
from ..storage.codec import number, to_json
from ..storage.keys import Keys, id_of
from ..storage.script_values import ClockWatch, ScriptResult
from ..storage.scripts import Scripts
from .attempts.log import log_rescues, log_timeout
from .registry import Registry

log = logging.getLogger("kue.maintenance")

#: Longest interval of promoting delayed jobs, seconds: a new job may be due before the known ones.
PROMOTE_S = 0.08
#: Interval of checking for overdue jobs, and for expired leases, seconds.
TIMEOUT_S, RESCUE_S = 0.25, 1.0
#: Interval of restoring lost wake-up tokens, seconds.
BALANCE_S = 3.0
#: Interval of checking for children that ended in a Node worker, seconds.
FLOWS_S = 1.0
#: Interval of checking for dead processes of this machine, seconds.
RECLAIM_S = 1.0
#: After this many seconds without reading the server's clock, expired leases may not be their workers' fault.
BLIND_S = 3.0
#: Time a renewal may take beyond its interval, seconds.
RENEWAL_S = 2.0
#: Maximum number of jobs per check, and of overdue ones: each of these needs a call, and promotion waits meanwhile.
BATCH, TIMEOUTS_MAX = 1000, 50
#: The lock that Node's ttl watcher holds while it waits a second for answers, and how often ours is repeated.
NODE_TTL_LOCK, ANSWERS = "activeJobsTTL:lock", 4
#: Lowest score in q:jobs:active that is a deadline, as in Node Kue.
DEADLINES_FROM = 100_000


class Maintenance:
    """Runs a list of (function, period) in one dedicated (green) thread."""

    def __init__(
        self,
        connector: Connector,
        scripts: Scripts,
        backoffs: Mapping[str, backoff.BackoffFunction],
        registry: Registry,
        stop_lost: Callable[[], object],
        lease_ms: int = 30_000,
    ) -> None:
        self._connection = DedicatedConnection(connector)
        self._scripts, self._keys, self._backoffs = scripts, scripts.keys, backoffs
        self._registry, self._stop_lost = registry, stop_lost
        self._wake = threading.Event()
        self._stopping = False
        self._blind_ms = int(min(BLIND_S * 1000, lease_ms / 3))
        #: The heartbeat interval plus the longest time a renewal may take.
        self._grace_ms = int(lease_ms / 3 + min(RENEWAL_S * 1000, lease_ms / 3))
        #: Names of the tasks that failed last time.
        self._failing: set[str] = set()
        self._server_ms = 0  # the server's time at its last reply
        self._watched_at: float | None = None
        self._rescue_from = 0.0
        self._answers: dict[str, int] = {}  # by job id, how many more times to answer Node's watcher
        self._tasks: list[list[Any]] = [
            [each, 0.0]
            for each in (self.reclaim, self.promote, self.time_out, self.rescue, self.balance, self.sweep_flows)
        ]

    def add(self, task: Callable[[Any], float]) -> None:
        """Add a task; call before ``start``. ``task(client)`` returns the seconds until its next run."""
        self._tasks.append([task, 0.0])

    def start(self) -> None:
        green.spawn(run_essential, "maintenance", self._run)

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            now = time.monotonic()
            self._stop_lost_attempts()
            for task in self._tasks:
                if task[1] > now:
                    continue
                try:
                    task[1] = now + task[0](self._connection.client)
                    self._failing.discard(_name(task[0]))
                except Exception as exc:
                    self._connection.disconnect()
                    task[1] = now + RESCUE_S
                    if is_transient(exc):  # the other tasks would fail too, and the engine reports it
                        green.sleep(RESCUE_S)
                        break
                    if _name(task[0]) not in self._failing:
                        self._failing.add(_name(task[0]))
                        log.exception("Maintenance task %s failed; retrying every second", _name(task[0]))
            self._wake.wait(max(0.001, min(task[1] for task in self._tasks) - time.monotonic()))
        self._connection.disconnect()

    def _stop_lost_attempts(self) -> None:
        try:
            self._stop_lost()
        except Exception:
            log.exception("An attempt whose lease was lost could not be stopped")

    # Tasks: each returns the seconds until its next run.

    def reclaim(self, client: Any) -> float:
        """Immediately rescue the jobs of dead processes of this machine."""
        self._registry.reclaim(client)
        return RECLAIM_S

    def promote(self, client: Any) -> float:
        promoted, next_ms = self._scripts.promote(client, BATCH)
        if promoted == BATCH:
            return 0.0
        return PROMOTE_S if next_ms < 0 else min(PROMOTE_S, next_ms / 1000)

    def time_out(self, client: Any) -> float:
        """Fail the attempts that ran past their ttl."""
        keys: Keys = self._keys
        watched_at = time.monotonic()
        self._server_ms = now_ms = self._scripts.watch_clock(client, self._clock())
        self._watched_at = watched_at
        self._answer_node(client)
        overdue = client.zrangebyscore(
            keys.state("active"), DEADLINES_FROM, now_ms, start=0, num=TIMEOUTS_MAX, withscores=True
        )
        pipe = client.pipeline(transaction=False)
        for member, _ in overdue:
            pipe.hmget(keys.job(id_of(member)), "type", "backoff", "attempts", "delay", "max_attempts")
        found = pipe.execute(raise_on_error=False) if overdue else []
        for (member, deadline), fields in zip(overdue, found, strict=True):
            job_id = str(id_of(member))
            if isinstance(fields, Exception) and is_transient(fields):
                raise fields
            job_type, text, made, delay, allowed = fields if isinstance(fields, list) else [None] * 5
            if job_type is None:
                self._scripts.tidy(client, job_id)
                continue
            attempts = number(made) or 0
            retry = backoff.decide(text, attempts + 1, number(delay), self._backoffs)
            code = self._scripts.timeout(client, job_id, int(deadline), attempts, *retry, clock=self._clock())
            if code == ScriptResult.OK:
                log_timeout(job_id, job_type, int(attempts), number(allowed), retry)
                self._answers[job_id] = ANSWERS
        return TIMEOUT_S if len(overdue) < TIMEOUTS_MAX else 0.0

    def _clock(self) -> ClockWatch:
        """Return what a script needs to detect a jump of the server's clock before it rescues or times out jobs."""
        elapsed_ms = 0 if self._watched_at is None else int((time.monotonic() - self._watched_at) * 1000)
        return ClockWatch(self._blind_ms, self._grace_ms, elapsed_ms)

    def _answer_node(self, client: Any) -> None:
        """Repeat the "ttl exceeded ack" of timed-out jobs while Node's watcher may wait for it.

        Node's watcher reads the overdue jobs and subscribes a moment later. If it missed an answer given in between, it
        would fail a job that already runs its next attempt or has completed.
        """
        if self._answers and not client.exists(NODE_TTL_LOCK):
            self._answers.clear()
        for job_id, left in list(self._answers.items()):
            message = {"id": id_of(f"|{job_id}"), "event": "ttl exceeded ack", "args": ["ttl exceeded ack"]}
            client.publish(self._keys.events, to_json(message))
            self._answers[job_id] = left - 1
            if left == 1:
                del self._answers[job_id]

    def balance(self, client: Any) -> float:
        """Restore wake-up tokens lost with the worker that took them: Node's workers block on them."""
        self._scripts.balance(client, int(BALANCE_S * 900))  # one process at a time is enough
        return BALANCE_S

    def sweep_flows(self, client: Any) -> float:
        """Count children that a Node worker ran or somebody removed, for their waiting parents."""
        self._scripts.sweep_flows(client, int(FLOWS_S * 900))
        return FLOWS_S

    def rescue(self, client: Any) -> float:
        """Rescue the jobs of workers that stopped renewing their leases."""
        if time.monotonic() < self._rescue_from:
            return RESCUE_S
        until_ms = self._server_ms + self._blind_ms
        try:
            rescued = self._scripts.rescue(client, limit=BATCH, until_ms=until_ms, clock=self._clock())
        except RedisError:
            # If Redis refuses this, it also refuses other processes' renewals.
            self._rescue_from = time.monotonic() + self._grace_ms / 1000
            raise
        log_rescues(client, self._keys, rescued, "its lease expired")
        return RESCUE_S if len(rescued) < BATCH else 0.0


def _name(task: Callable[..., object]) -> str:
    """Return a task's name for the log, qualified because classes may share method names."""
    return task.__qualname__.removeprefix("Maintenance.")
