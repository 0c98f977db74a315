"""Run attempts in threads: green ones in a process patched by eventlet, otherwise OS threads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from ...backoff import BackoffFunction
from ...concurrency import green
from ...errors import JobInterrupt
from ...logs import current_job
from ...storage.script_values import Outcome
from ..execution import Execution
from ..handler import Handler
from ..handler_call import call
from ..outcomes import completed, not_runnable, raised
from .executor import Report

log = logging.getLogger("kue.worker")


class ThreadExecutor:
    """Runs each attempt in its own thread. Threads are reused."""

    def __init__(
        self, report: Report, backoffs: Mapping[str, BackoffFunction], holds: Callable[[Execution], bool]
    ) -> None:
        self._report, self._backoffs, self._holds = report, backoffs, holds
        self._running: set[Execution] = set()

    def prepare(self, job_type: str, handler: Handler, count: int) -> None:
        pass

    def start(self, execution: Execution) -> None:
        execution.task = green.spawn(self._run, execution)

    def interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        """Stop the handler: immediately in a green thread, at its next ``log`` or ``progress`` in an OS thread."""
        if execution.task is not None:
            execution.task.interrupt(exc)

    def has_leftovers(self) -> bool:
        return any(not self._holds(execution) for execution in list(self._running))

    def stop(self) -> None:
        pass

    def _run(self, execution: Execution) -> None:
        job = execution.job
        token = current_job.set(job)
        self._running.add(execution)
        try:
            try:
                job._raise_if_interrupted()  # it may have been stopped before it started
                outcome: Outcome | None = completed(job, call(execution.handler, job, execution.context))
            except BaseException as exc:
                execution.error = exc
                outcome = raised(job, exc, self._backoffs)
        except BaseException as exc:  # raised after the handler returned: its slot must not be lost
            if green.is_kill(exc):
                raise
            log.exception("Job %s: cannot determine its outcome", job.id)
            outcome = not_runnable(str(job.id), job._token, exc)
        finally:
            self._running.discard(execution)
            current_job.reset(token)  # the thread is used again
        self._report(execution, outcome)
