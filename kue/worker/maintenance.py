"""Maintenance, which any process with workers does for the whole queue: promote, time out, rescue, each on a timer."""

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
from .attempt_log import log_rescues, log_timeout
from .registry import Registry

log = logging.getLogger("kue.maintenance")

#: Longest time between two looks at the delayed jobs, s: new ones may have come in due before those known.
PROMOTE_S = 0.08
#: Time between two looks for overdue jobs, and for expired leases, s.
TIMEOUT_S, RESCUE_S = 0.25, 1.0
#: Time between two looks for lost tokens, s.
BALANCE_S = 3.0
#: Time between two looks for children that ended in a Node worker, s.
FLOWS_S = 1.0
#: Time between two looks for dead processes of this machine, s.
RECLAIM_S = 1.0
#: Seconds without a look at the server's clock after which leases may have expired without a worker's fault.
BLIND_S = 3.0
#: What a renewal may take beyond its interval, s.
RENEWAL_S = 2.0
#: Jobs that one look takes, and overdue ones: each of these is a call, and promotion waits for them.
BATCH, TIMEOUTS_MAX = 1000, 50
#: What Node's ttl watcher holds while it waits a second for answers, and how often we give ours again meanwhile.
NODE_TTL_LOCK, ANSWERS = "activeJobsTTL:lock", 4
#: Lower end of the scores that are deadlines in q:jobs:active, as in Node Kue.
DEADLINES_FROM = 100_000


class Maintenance:
    """Runs a list of (function, period) in one (green) thread of its own."""

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
        #: A whole interval between two heartbeats, and what one may take.
        self._grace_ms = int(lease_ms / 3 + min(RENEWAL_S * 1000, lease_ms / 3))
        #: Names of the tasks that failed last time.
        self._failing: set[str] = set()
        self._server_ms = 0  # the server's time when it last answered
        self._watched_at: float | None = None
        self._rescue_from = 0.0
        self._answers: dict[str, int] = {}  # by job id, how often Node's watcher is still to be answered
        self._tasks: list[list[Any]] = [
            [each, 0.0]
            for each in (self.reclaim, self.promote, self.time_out, self.rescue, self.balance, self.sweep_flows)
        ]

    def add(self, task: Callable[[Any], float]) -> None:
        """Run one more task, to be called before ``start``: ``task(client)`` returns as the others."""
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
                    if is_transient(exc):  # for the others too, and the engine tells of it
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

    # Each returns the seconds until it wants to run again.

    def reclaim(self, client: Any) -> float:
        """Rescue the jobs of dead processes of this machine at once."""
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
        """Return what a script needs to see a jump of the server's clock before it takes anything away."""
        elapsed_ms = 0 if self._watched_at is None else int((time.monotonic() - self._watched_at) * 1000)
        return ClockWatch(self._blind_ms, self._grace_ms, elapsed_ms)

    def _answer_node(self, client: Any) -> None:
        """Repeat that overdue jobs were timed out, while Node's watcher may wait for that answer.

        It reads which jobs are overdue and begins to listen a moment later. An answer given in that moment is lost on
        it, and it would fail a job that runs its next attempt or has completed.
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
        """Restore tokens that were lost with the worker that took them: Node's workers block on them."""
        self._scripts.balance(client, int(BALANCE_S * 900))  # of all processes one at a time is enough
        return BALANCE_S

    def sweep_flows(self, client: Any) -> float:
        """Count children that a Node worker ran, or that somebody removed, for the jobs that wait for them."""
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
            # What is refused here is refused to others too: their renewals.
            self._rescue_from = time.monotonic() + self._grace_ms / 1000
            raise
        log_rescues(client, self._keys, rescued, "its lease expired")
        return RESCUE_S if len(rescued) < BATCH else 0.0


def _name(task: Callable[..., object]) -> str:
    """Return a task's name for the log; two classes may have a method of the same name."""
    return task.__qualname__.removeprefix("Maintenance.")
