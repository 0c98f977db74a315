"""Attempts in threads: green ones in a process patched by eventlet, else those of the operating system."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from types import CoroutineType
from typing import Any

from ...backoff import BackoffFunction
from ...concurrency import green
from ...errors import JobInterrupt
from ...job import Job
from ...middleware import compose
from ...storage.script_values import Outcome
from ..execution import Execution
from ..outcomes import DoneError, completed, not_runnable, raised
from .executor import Report

log = logging.getLogger("kue.worker")

#: Seconds between two looks whether a handler that reports by ``done`` was told to stop, or has reported: the second
#: where threads are green.
POLL_S, GREEN_POLL_S = 1.0, 0.05


class ThreadExecutor:
    """Runs each attempt in a thread of its own, which is used again afterwards."""

    def __init__(self, report: Report, backoffs: Mapping[str, BackoffFunction]) -> None:
        self._report, self._backoffs = report, backoffs

    def start(self, execution: Execution) -> None:
        execution.task = green.spawn(self._run, execution)

    def interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        """Stop the handler: at once in a green thread, at its next ``log`` or ``progress`` in a plain one."""
        if execution.task is not None:
            execution.task.interrupt(exc)

    def stop(self) -> None:
        pass

    def _run(self, execution: Execution) -> None:
        job = execution.job
        try:
            try:
                job._raise_if_interrupted()  # it may have been taken away before it began
                outcome: Outcome | None = completed(job, _call(execution))
            except BaseException as exc:
                execution.error = exc
                outcome = raised(job, exc, self._backoffs)
        except BaseException as exc:  # of what comes after the handler: its slot must not be lost
            if green.is_kill(exc):
                raise
            log.exception("Job %s: cannot determine its outcome", job.id)
            outcome = not_runnable(str(job.id), job._token, exc)
        self._report(execution, outcome)


def _call(execution: Execution) -> Any:
    """Call the handler inside the middleware; return its result, or raise what it raised."""
    job = execution.job
    if job._owner.middlewares:
        return compose(lambda job: _call_handler(execution, job), job._owner.middlewares)(job)
    return _call_handler(execution, job)


def _call_handler(execution: Execution, job: Job) -> Any:
    """Call the handler; return its result, or raise what it raised or gave to ``done``."""
    handler = execution.slot.handler
    if handler.arity == 1:
        return _not_coroutine(handler.fn(job))
    ended = threading.Event()
    reports: list[tuple[Any, Any]] = []

    def done(error: Any = None, result: Any = None) -> None:
        reports.append((error, result))
        ended.set()

    if handler.arity == 2:
        handler.fn(job, done)
    else:
        handler.fn(job, execution.context, done)
    # An OS thread that calls done wakes no green one.
    poll_s = GREEN_POLL_S if green.enabled() else POLL_S
    while not ended.wait(poll_s):
        job._raise_if_interrupted()
    error, result = reports[0]  # the first call counts
    if not error:  # as in JavaScript, "" and 0 are no errors
        return result
    raise error if isinstance(error, BaseException) else DoneError(error)


def _not_coroutine(result: Any) -> Any:
    """Return a handler's result. Raises TypeError if it is a coroutine, which nobody would await."""
    if isinstance(result, CoroutineType):
        result.close()
        raise TypeError(
            "the handler is no async function, but returned a coroutine: register the async function itself, or let "
            "what wraps it be async"
        )
    return result
