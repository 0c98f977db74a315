"""A queue's worker in this process: the engine and the maintenance."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from .. import child_process
from ..backoff import BackoffFunction
from ..errors import InvalidJob, KueError
from ..job import Job
from ..storage.arguments import check_type
from ..storage.session import Session
from . import selection
from .child_processes.child.recording import record
from .engine import Engine
from .executors.asyncio_executor import HandlerJobs
from .gate import gate
from .isolation.options import Isolation
from .isolation.target import Target
from .maintenance import Maintenance
from .remote_commands import RemoteCommands


class Worker:
    """Starts with the first handler. ``tasks`` are additional maintenance tasks.

    ``handler_jobs`` returns the factory of async handlers' jobs.
    """

    def __init__(
        self,
        session: Session,
        make_job: Callable[[int | str, dict[str, str]], Job],
        backoffs: Mapping[str, BackoffFunction],
        lease_ms: int,
        on_error: Callable[[BaseException], object],
        tasks: tuple[Callable[[Any], float], ...],
        handler_jobs: Callable[[], HandlerJobs],
    ) -> None:
        self._session, self._make_job, self._backoffs = session, make_job, backoffs
        self._lease_ms, self._on_error, self._tasks = lease_ms, on_error, tasks
        self._handler_jobs = handler_jobs
        self._lock = threading.Lock()
        self.engine: Engine | None = None
        self._is_stopped = False
        self._maintenance: Maintenance | None = None

    def process(
        self,
        job_type: str,
        concurrency: int,
        handler: Callable[..., Any],
        target: Target | None = None,
        isolation: Isolation | None = None,
    ) -> None:
        """Run ``handler`` for the jobs of a type, unless `kue worker --only` excludes the type."""
        check_type(job_type)
        if child_process.is_child:
            record(self._session.keys.prefix, job_type, handler, self._make_job(0, {"type": job_type})._owner)
            return
        if self._is_stopped:
            raise KueError("this queue was shut down; create another one to process jobs")
        if selection.allows(job_type):
            self._started().process(job_type, concurrency, handler, target, isolation)

    def concurrency(self, job_type: str, count: int | None = None) -> int:
        if child_process.is_child:  # a module that changes the concurrency after registering its handlers
            return count or 1
        if self.engine is None or job_type not in self.engine.types():
            raise InvalidJob(f"this process has no handler for {job_type!r}: call process() first")
        return self.engine.concurrency(job_type, count)

    def types(self) -> dict[str, int]:
        return {} if self.engine is None else self.engine.types()

    @property
    def finished(self) -> dict[tuple[str, str], int]:
        """How many attempts ended in this process, by type and verb."""
        return {} if self.engine is None else dict(self.engine.attempts.finished)

    def running_ids(self) -> list[int | str]:
        return [] if self.engine is None else self.engine.running_ids()

    def quiet(self) -> None:
        if self.engine is not None:
            self.engine.quiet()

    def stop_type(self, job_type: str, timeout_s: float | None) -> None:
        """Take no more jobs of a type, and wait for running ones."""
        if self.engine is not None:
            self.engine.quiet(job_type)
            self.engine.drain(timeout_s, job_type)

    def stop(self, timeout_s: float | None) -> None:
        self._is_stopped = True
        if self._maintenance is not None:
            self._maintenance.stop()
        if self.engine is not None:
            self.engine.stop(timeout_s)

    def release_all(self) -> bool:
        """Release all running jobs, from an OS thread, when the process's other threads are stuck."""
        return self.engine is None or self.engine.release_all()

    def after_fork(self) -> None:
        """Called in a forked child: forget the parent's job handlers."""
        self._lock, self._is_stopped = threading.Lock(), False
        self.engine = self._maintenance = None
        gate.after_fork()

    def _started(self) -> Engine:
        with self._lock:
            if self.engine is None:
                connector, scripts = self._session.connector, self._session.scripts
                self.engine = Engine(
                    connector, scripts, make_job=self._make_job, backoffs=self._backoffs, lease_ms=self._lease_ms,
                    on_error=self._on_error, handler_jobs=self._handler_jobs,
                )  # fmt: skip
                self._maintenance = Maintenance(
                    connector, scripts, self._backoffs, self.engine.registry, self.engine.attempts.stop_lost,
                    self.engine.is_idle, self._lease_ms,
                )  # fmt: skip
                for task in self._tasks:
                    self._maintenance.add(task)
                commands = RemoteCommands(self._session.keys, self.engine.worker, self.engine.concurrency)
                self._maintenance.add(commands.run)
                self._maintenance.start()
            return self.engine
