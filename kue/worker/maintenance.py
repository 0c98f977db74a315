"""Periodic maintenance of the whole queue, done by any process with workers: promote, time out, rescue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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
from ..storage.script_task import ScriptTask, first_replies
from ..storage.script_values import ClockWatch, ScriptResult, clock_reply
from ..storage.scripts import Scripts
from .attempts.log import log_rescues, log_timeout
from .registry import Registry

log = logging.getLogger("kue.maintenance")

#: Longest interval of promoting delayed jobs, seconds: a new job may be due before the known ones. Then the same while
#: this process has nothing to do: only a job with a shorter delay would be promoted late.
PROMOTE_S, IDLE_PROMOTE_S = 0.08, 0.2
#: Interval of checking for overdue jobs, seconds; and while this process has nothing to do.
TIMEOUT_S, IDLE_TIMEOUT_S = 0.25, 0.6
#: Interval of checking for expired leases, seconds.
RESCUE_S = 1.0
#: Interval of restoring wake-up tokens that were lost with the worker that took them, seconds: Node's workers block on
#: them.
BALANCE_S = 3.0
#: Interval of counting, for their waiting parents, children that a Node worker ran or somebody removed, seconds.
FLOWS_S = 1.0
#: Tasks that are due within this many seconds run at once, and share a round trip.
TOGETHER_S = 0.02
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


class Maintenance:
    """Runs a list of (function, period) in one dedicated (green) thread."""

    def __init__(
        self,
        connector: Connector,
        scripts: Scripts,
        backoffs: Mapping[str, backoff.BackoffFunction],
        registry: Registry,
        stop_lost: Callable[[], object],
        is_idle: Callable[[], bool],
        lease_ms: int = 30_000,
    ) -> None:
        self._connection = DedicatedConnection(connector)
        self._scripts, self._keys, self._backoffs = scripts, scripts.keys, backoffs
        self._registry, self._stop_lost, self._is_idle = registry, stop_lost, is_idle
        self._wake = threading.Event()
        self._stopping = False
        self._blind_ms = int(min(BLIND_S * 1000, lease_ms / 3))
        #: The heartbeat interval plus the longest time a renewal may take.
        self._grace_ms = int(lease_ms / 3 + min(RENEWAL_S * 1000, lease_ms / 3))
        #: Names of the tasks that failed last time.
        self._failing: set[str] = set()
        self._server_ms = 0  # the server's time at its last reply
        self._watched_at: float | None = None
        self._watching_at = 0.0
        self._rescue_from = 0.0
        self._answers: dict[str, int] = {}  # by job id, how many more times to answer Node's watcher
        self.promote = self._task("promote", lambda: ("promote", BATCH), self._promoted)
        self.time_out = self._task("time_out", self._watch_clock, self._time_out)
        # One process at a time restores tokens, and counts children.
        self.balance = self._task(
            "balance", lambda: ("restore_tokens", int(BALANCE_S * 900)), lambda client, reply: BALANCE_S
        )
        self.sweep_flows = self._task(
            "sweep_flows", lambda: ("sweep_flows", int(FLOWS_S * 900)), lambda client, reply: FLOWS_S
        )
        #: Each with the time of its next run, monotonic s.
        self._tasks: dict[Callable[[Any], float], float] = dict.fromkeys(
            (self.reclaim, self.promote, self.time_out, self.rescue, self.balance, self.sweep_flows), 0.0
        )

    def add(self, task: Callable[[Any], float]) -> None:
        """Add a task; call before ``start``. ``task(client)`` returns the seconds until its next run."""
        self._tasks[task] = 0.0

    def _task(self, name: str, script: Callable[[], Sequence[Any]], read: Callable[[Any, Any], float]) -> ScriptTask:
        return ScriptTask(name, self._scripts, script, read)

    def start(self) -> None:
        green.spawn(run_essential, "maintenance", self._run)

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._stop_lost_attempts()
            if not self._run_due(time.monotonic()):
                green.sleep(RESCUE_S)
                self._tasks = dict.fromkeys(self._tasks, 0.0)
            self._wake.wait(max(0.001, min(self._tasks.values()) - time.monotonic()))
        self._connection.disconnect()

    def _run_due(self, now: float) -> bool:
        """Run the tasks that are due; return False if Redis cannot be reached, which the engine reports."""
        due = [task for task, at in self._tasks.items() if at <= now + TOGETHER_S]
        self._tasks.update(dict.fromkeys(due, now + RESCUE_S))
        try:
            replies = first_replies(self._scripts, self._connection.client, due)
        except Exception as exc:
            return self._failed(due[0], exc)
        for task, reply in zip(due, replies, strict=True):
            try:
                if isinstance(reply, Exception):
                    raise reply
                client = self._connection.client
                pause_s = task.read(client, reply) if isinstance(task, ScriptTask) else task(client)
            except Exception as exc:
                if not self._failed(task, exc):
                    return False
            else:
                self._tasks[task] = now + pause_s
                self._failing.discard(_name(task))
        return True

    def _failed(self, task: Callable[[Any], float], exc: Exception) -> bool:
        """Log a failure once; return False if the other tasks would fail too."""
        self._connection.disconnect()
        if is_transient(exc):
            return False
        if _name(task) not in self._failing:
            self._failing.add(_name(task))
            log.error("Maintenance task %s failed; retrying every second", _name(task), exc_info=exc)
        return True

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

    def _promoted(self, client: Any, reply: list[int]) -> float:
        promoted, next_ms = reply
        if promoted == BATCH:
            return 0.0
        longest_s = IDLE_PROMOTE_S if self._is_idle() else PROMOTE_S
        return longest_s if next_ms < 0 else min(longest_s, next_ms / 1000)

    def _watch_clock(self) -> list[object]:
        clock, self._watching_at = self._clock(), time.monotonic()
        return ["watch_clock", *clock, TIMEOUTS_MAX]

    def _time_out(self, client: Any, reply: list[Any]) -> float:
        """Fail the attempts that ran past their ttl."""
        keys: Keys = self._keys
        self._server_ms, overdue = clock_reply(reply)
        self._watched_at = self._watching_at
        self._answer_node(client)
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
            code = self._scripts.timeout(client, job_id, deadline, attempts, *retry, clock=self._clock())
            if code == ScriptResult.OK:
                log_timeout(job_id, job_type, int(attempts), number(allowed), retry)
                self._answers[job_id] = ANSWERS
        if len(overdue) == TIMEOUTS_MAX:
            return 0.0
        return IDLE_TIMEOUT_S if self._is_idle() else TIMEOUT_S

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


def _name(task: Callable[[Any], float]) -> str:
    """Return a task's name for the log, qualified because classes may share method names."""
    return task.name if isinstance(task, ScriptTask) else task.__qualname__.removeprefix("Maintenance.")
