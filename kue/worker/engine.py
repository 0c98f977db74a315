"""The engine: fetch jobs, run attempts, acknowledge. One per process, for any number of types."""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Mapping, Set
from typing import Any

from redis.exceptions import RedisError

from .. import job as jobs
from ..backoff import BackoffFunction
from ..concurrency import green
from ..connection.connector import Connector
from ..connection.subscription import Subscription
from ..storage.codec import check_concurrency
from ..storage.script_values import RENEW, RESUMED
from ..storage.scripts import Scripts
from ..storage.worker_records import TypeInfo
from .attempts.attempts import Attempts
from .attempts.deadlines import Deadlines
from .attempts.engine_lock import EngineLock
from .attempts.execution import Context, Execution
from .attempts.executor import Executor
from .attempts.handler import Kind, read_handler
from .attempts.slots import TypeSlots
from .error_reports import ErrorReports
from .executors import event_loop
from .executors.asyncio_executor import HandlerJobs
from .executors.executors import Executors
from .fetch_loops import FetchLoops
from .fetcher import Fetcher
from .gate import gate
from .heartbeat import Heartbeat
from .isolation.options import Isolation
from .isolation.target import Target
from .registry import Registry, worker_name
from .suspects import Suspects

log = logging.getLogger("kue.worker")

#: Interval of checking whether the process is registered, before it takes its first job, seconds.
REGISTERED_S = 0.002
#: Maximum time that the first fetch waits for the subscription to revocations, seconds.
REVOCATIONS_S = 1.0
#: Seconds that a stop waits for Redis to accept the released jobs.
RELEASE_S = 2.0


class Engine:
    """Runs the handlers of one queue in this process."""

    def __init__(
        self,
        connector: Connector,
        scripts: Scripts,
        *,
        make_job: Callable[[int | str, dict[str, str]], jobs.Job],
        backoffs: Mapping[str, BackoffFunction],
        lease_ms: int,
        on_error: Callable[[BaseException], object],
        handler_jobs: Callable[[], HandlerJobs],
    ) -> None:
        self._scripts = scripts
        self._id = uuid.uuid4().hex[:8]
        self.worker = worker_name(socket.gethostname(), os.getpid(), self._id)
        self._lock = EngineLock()
        self._types: dict[str, TypeSlots] = {}
        self._slots = 0
        self._started = False
        self.attempts = Attempts(
            self._types, self._lock, self.worker, self._id,
            make_job=make_job, context=self._context, executor=self._executor, isolates=self._isolates,
        )  # fmt: skip
        self._reports = ErrorReports(on_error)
        self._fetcher = Fetcher(connector, scripts, self.worker, lease_ms, self._reports)
        self._deadlines = Deadlines(scripts, self._fetcher.connection, self.attempts.holds)
        self._executors = Executors(scripts.keys.prefix, self.attempts, self._deadlines, backoffs, handler_jobs)
        self._suspects = Suspects(
            self._lock, self._deadlines,
            executor=self._executor, holds=self.attempts.holds, delivered=self._executors.delivered,
        )  # fmt: skip
        self._name = f"{self.worker}:{self._id}"
        self._fetch_loops = FetchLoops(
            self._types, self._lock, self.attempts, self._fetcher, self._reports, scripts.keys, self._name, self._id,
            prepare=self._wait_until_registered, delivered=self._executors.delivered,
        )  # fmt: skip
        self.registry = Registry(scripts, self.worker, self._describe, event_loop.lag_ms)
        self.heartbeat = Heartbeat(
            connector, scripts, lease_ms, self.attempts.leases, self.attempts.lost, self.registry.beat
        )
        self._revocations = Subscription(connector, scripts.keys.revoked, self._revoked, self._resync)
        gate.add(self)

    # Called by the queue

    def process(
        self,
        job_type: str,
        concurrency: int,
        handler: Callable[..., Any],
        target: Target | None = None,
        isolation: Isolation | None = None,
    ) -> None:
        """Add ``concurrency`` slots for a type; a second call for the same type adds to the first."""
        check_concurrency(concurrency)
        wanted = read_handler(handler, target, isolation)
        with self._lock:
            known = self._types.setdefault(job_type, TypeSlots(job_type))
            known.add(range(self._slots + 1, self._slots + 1 + concurrency), wanted)
            self._slots += concurrency
            self._executor(wanted.kind).prepare(job_type, wanted, concurrency)
            self._start()
            self._lock.notify_all()
        self.heartbeat.beat_now()

    def concurrency(self, job_type: str, count: int | None = None) -> int:
        """Return a type's number of slots; with ``count``, change it first. Running jobs are left alone."""
        with self._lock:
            known = self._types[job_type]
            if count is not None:
                self._slots += known.resize(check_concurrency(count), self._slots + 1)
                self._executor(known.newest.kind).prepare(job_type, known.newest, count)
                self._lock.notify_all()
                self.heartbeat.beat_now()
            return known.concurrency

    def types(self) -> dict[str, int]:
        """Return the types that this process runs, with their slots."""
        with self._lock:
            return {name: known.concurrency for name, known in self._types.items()}

    def is_idle(self) -> bool:
        """Return whether nothing runs here, or did a moment ago."""
        return self._fetch_loops.is_idle() and not self.attempts.running

    def running_ids(self) -> list[int | str]:
        with self._lock:
            return self.attempts.running_ids()

    def pause(self, job_type: str) -> None:
        """Take no new jobs of a type in this process."""
        with self._lock:
            self._types[job_type].draining = True
            self._fetch_loops.blocking_fetcher.expect_interrupt()
            self._lock.notify_all()
        self.heartbeat.beat_now()

    def resume(self, job_type: str) -> None:
        with self._lock:
            self._types[job_type].draining = False
            self._types[job_type].expect_jobs()
            self._lock.notify_all()
        self.heartbeat.beat_now()

    def quiet(self, job_type: str | None = None) -> None:
        """Take no new jobs; running ones continue. May be called twice."""
        with self._lock:
            for known in self._types.values():
                if job_type in (None, known.name):
                    known.draining = True
            self._fetch_loops.blocking_fetcher.expect_interrupt()
            self._lock.notify_all()

    def drain(self, timeout_s: float | None, job_type: str | None = None) -> bool:
        """Wait until nothing runs and everything is acknowledged; return whether that happened in time."""
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        with self._lock:
            while self._busy(job_type):
                left = 1.0 if give_up is None else give_up - time.monotonic()
                if left <= 0:
                    return False
                self._lock.drains.wait(min(left, 1.0))
        return True

    def stop(self, timeout_s: float | None = 10.0) -> None:
        """Take no new jobs, wait for running ones, release those left after ``timeout_s``. May be called twice."""
        self.quiet()
        if not self.drain(timeout_s):
            with self._lock:
                self._fetcher.give_up_at = time.monotonic() + RELEASE_S
            self.attempts.release()
            self.drain(RELEASE_S)
        self._fetch_loops.stop()
        self._executors.stop()
        self.heartbeat.stop(self._leave)
        self._revocations.stop()

    def release_all(self) -> bool:
        """Release running jobs before the process is killed: from an OS thread, without locks.

        Returns whether Redis has accepted that.
        """
        connection = self._fetcher.connection(RELEASE_S)
        try:
            self.attempts.release_all(connection.client, self._scripts)
            self._leave(connection.client)
        except (RedisError, OSError) as exc:
            log.error("Running jobs were not released (%s); they run again when their leases expire", exc)
            return False
        return True

    def _leave(self, client: Any) -> None:
        self.registry.leave(client)
        client.delete(self._scripts.keys.wake(self._name))

    def _busy(self, job_type: str | None) -> bool:
        return self.attempts.is_busy(job_type) or self._fetch_loops.is_busy(job_type)

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        self._fetch_loops.start()
        self._revocations.start(0, required=False)
        self.heartbeat.start()

    def _wait_until_registered(self) -> None:
        while not (self.heartbeat.has_beaten or self._fetch_loops.is_stopped):
            green.sleep(REGISTERED_S)  # an OS thread cannot wake a green one
        self._revocations.wait(REVOCATIONS_S)

    # Called by others

    def _executor(self, kind: Kind) -> Executor:
        return self._executors.get(kind)

    def _isolates(self, execution: Execution) -> bool:
        return self._suspects.takes(execution)

    def runs_only(self, suspects: Set[object]) -> bool:
        """Return whether nothing but suspects runs here, and no job may arrive."""
        with self._lock:
            if any(execution not in suspects for execution in self.attempts.running.values()):
                return False
            if self._fetch_loops.may_deliver():
                return False
        return not self._executors.has_leftovers()

    def gate_moved(self) -> None:
        """Called when the gate was closed or opened for a suspect."""
        with self._lock:
            self._lock.notify_all()

    def _context(self, job_type: str) -> Context:
        return Context(lambda: self.pause(job_type), lambda: self.resume(job_type))

    def _describe(self) -> dict[str, TypeInfo]:
        """Return each type's entry for the registry. Called in the heartbeat's OS thread, so without a lock."""
        busy = self.attempts.busy()
        return {
            name: TypeInfo(slots=known.concurrency, busy=busy[name], paused=known.draining)
            for name, known in list(self._types.items())
        }

    def _revoked(self, messages: list[str]) -> None:
        for message in messages:
            if message == RESUMED:
                self._resumed()
            elif message == RENEW:
                self.heartbeat.beat_now()
            else:
                job_id, _, rest = message.partition(" ")
                token, _, reason = rest.partition(" ")
                self.attempts.revoke(job_id, token, reason)

    def _resumed(self) -> None:
        """A type may have been resumed: fetch all types immediately."""
        with self._lock:
            for known in self._types.values():
                known.expect_jobs()
            self._lock.notify_all()

    def _resync(self) -> None:
        """Messages were lost: let the heartbeat find revoked jobs, and fetch types that may have been resumed."""
        self.heartbeat.beat_now()
        self._resumed()
