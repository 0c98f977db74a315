"""Run attempts of async handlers as tasks of the process's event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, Protocol

from ...backoff import BackoffFunction
from ...errors import JobInterrupt, KueError, WorkerStopping
from ...job import Job
from ...logs import current_job
from ...middleware import acompose
from ...storage.script_values import Outcome
from ..attempts.execution import Execution
from ..attempts.executor import ReportAll
from ..attempts.handler import Handler
from ..attempts.outcomes import completed, not_runnable, raised, released
from . import event_loop

log = logging.getLogger("kue.worker")

#: Why the other attempts on a blocked loop are released.
BLOCKED = "another async handler blocked its event loop"


class HandlerJobs(Protocol):
    """Creates the jobs passed to async handlers, and owns their connections."""

    def job_of(self, job: Job) -> Any:
        """Return the same job, with awaitable methods."""

    async def aclose(self) -> None:
        """Close the connections; called on the loop."""


class AsyncioExecutor:
    """Runs each attempt as a task.

    Attempts go to the loop, and outcomes to the engine, in batches: one call starts all attempts of a delivery, one
    call reports all that end in the same loop iteration.
    """

    def __init__(
        self,
        report: ReportAll,
        backoffs: Mapping[str, BackoffFunction],
        holds: Callable[[Execution], bool],
        handler_jobs: HandlerJobs,
        on_abandoned: Callable[[AsyncioExecutor], object],
    ) -> None:
        self._report, self._backoffs, self._holds, self._handler_jobs = report, backoffs, holds, handler_jobs
        self._job_of, self._on_abandoned = handler_jobs.job_of, on_abandoned
        self._loop: event_loop.EventLoop | None = None
        #: Attempts to start, and whether the loop has been notified.
        self._ready: deque[Execution] = deque()
        self._is_told = self._is_abandoned = False
        #: The tasks of running attempts. Nothing else references them.
        self.tasks: dict[asyncio.Task[None], Execution] = {}
        self._ended: list[tuple[Execution, Outcome | None]] = []

    def prepare(self, job_type: str, handler: Handler, count: int) -> None:
        pass

    def start(self, execution: Execution) -> None:
        if self._loop is None:
            self._loop = event_loop.acquire(self)
        self._ready.append(execution)
        if self._is_abandoned:
            raise KueError(BLOCKED)

    def begin_started(self) -> None:
        """Start the queued attempts on the loop, in one call for a whole delivery."""
        if self._ready and not self._is_told and self._loop is not None:
            self._is_told = True
            self._loop.call(self._begin)

    def interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        """Cancel the task: CancelledError is raised where it awaits, with ``exc`` as its argument."""
        if self._loop is not None:
            self._loop.call(self._cancel, execution, exc)

    def has_leftovers(self) -> bool:
        return any(not self._holds(execution) for execution in list(self.tasks.values()))

    def stop(self) -> None:
        """Give cancelled tasks a moment to clean up. The last executor to stop closes the loop."""
        loop = self._loop
        if loop is None:
            return
        loop.wait_until(lambda: not self.tasks, event_loop.CLEANUP_S)
        loop.finish(self._handler_jobs.aclose, event_loop.CLOSE_S)
        event_loop.release(loop, self)

    def abandoned(self) -> None:
        """The loop is blocked: release the attempts, report those that have ended, and give way to a new executor."""
        self._is_abandoned = True
        self._on_abandoned(self)
        ended: list[tuple[Execution, Outcome | None]] = list(self._ended)
        for execution in (*self.tasks.values(), *self._ready):
            if self._holds(execution):
                execution.job._interrupt = execution.job._interrupt or WorkerStopping()
                ended.append((execution, released(str(execution.job.id), execution.job._token, BLOCKED)))
        self._report(ended)

    # In the loop's thread

    def _begin(self) -> None:
        assert self._loop is not None
        self._is_told = False  # first: attempts added from now on notify the loop again
        loop, ready = self._loop.loop, self._ready
        while ready:
            execution = ready.popleft()
            if execution.job._interrupt is not None:  # stopped before it started
                self._end(execution, raised(execution.job, execution.job._interrupt, self._backoffs))
                continue
            task = execution.task = asyncio.Task(self._run(execution), loop=loop, name="kue job", context=Context())
            self.tasks[task] = execution
        self._loop.watchdog.wake()

    async def _run(self, execution: Execution) -> None:
        event_loop.current.set(execution)
        job = execution.job
        current_job.set(job)  # the context is this task's alone
        try:
            try:
                result = await acompose(execution.handler.fn, job._owner.middlewares)(self._job_of(job))
                outcome: Outcome | None = completed(job, result)
            except BaseException as exc:  # includes KeyboardInterrupt and SystemExit, which would end the loop
                execution.error = exc
                outcome = self._outcome_of(job, exc)
        except BaseException as exc:  # raised after the handler returned: its slot must not be lost
            log.exception("Job %s: cannot determine its outcome", job.id)
            outcome = not_runnable(str(job.id), job._token, exc)
        self.tasks.pop(execution.task, None)
        self._end(execution, outcome)

    def _outcome_of(self, job: Job, exc: BaseException) -> Outcome | None:
        if isinstance(exc, asyncio.CancelledError) and job._interrupt is not None:
            exc = job._interrupt
        return raised(job, exc, self._backoffs)

    def _end(self, execution: Execution, outcome: Outcome | None) -> None:
        assert self._loop is not None
        self._ended.append((execution, outcome))
        if len(self._ended) == 1:
            self._loop.loop.call_soon(self._report_ended)

    def _report_ended(self) -> None:
        ended, self._ended = self._ended, []
        self._report(ended)

    def _cancel(self, execution: Execution, exc: JobInterrupt) -> None:
        task = execution.task
        if task is not None and not execution.was_raised:  # without a task, it does not start
            task.add_done_callback(lambda task: self.tasks.pop(task, None))  # a task that never started never ends
            task.cancel(exc)
