"""Run attempts in threads: green ones in a process patched by eventlet, otherwise OS threads."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping

from ...backoff import BackoffFunction
from ...concurrency import green
from ...errors import JobInterrupt
from ...logs import current_job
from ...storage.script_values import Outcome
from ..attempts.execution import Execution
from ..attempts.executor import ReportAll
from ..attempts.handler import Handler
from ..attempts.handler_call import call
from ..attempts.outcomes import completed, not_runnable, raised

log = logging.getLogger("kue.worker")

#: Longest run time of a short attempt, seconds. Waking a thread takes about this time.
SHORT_S = 0.0001
#: Attempts of a type are expected to be short while less than this share of its last ones, about 1 / WEIGHT, were not.
LONG_SHARE, WEIGHT = 0.02, 1 / 32
#: Number of ended attempts that are reported although others wait for the same thread.
TOGETHER = 5


class ThreadExecutor:
    """Runs each attempt in its own thread, or a short one in the thread that fetched it. Threads are reused."""

    def __init__(
        self, report: ReportAll, backoffs: Mapping[str, BackoffFunction], holds: Callable[[Execution], bool]
    ) -> None:
        self._report, self._backoffs, self._holds = report, backoffs, holds
        self._running: set[Execution] = set()
        self._is_green = green.enabled()
        #: Attempts that have ended. Short ones are reported together, since each report wakes the fetch loops.
        self._ended: deque[tuple[Execution, Outcome | None]] = deque()
        #: By type, the share of the last attempts that were not short.
        self._long: dict[str, float] = {}

    def prepare(self, job_type: str, handler: Handler, count: int) -> None:
        pass

    def start(self, execution: Execution) -> None:
        spawn = green.spawn_short if self._long.get(execution.type, 1.0) < LONG_SHARE else green.spawn
        execution.task = spawn(self._run, execution)

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
        began_at = time.monotonic()
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
            is_long = time.monotonic() - began_at > SHORT_S
            self._long[execution.type] = (1 - WEIGHT) * self._long.get(execution.type, 1.0) + WEIGHT * is_long
            self._running.discard(execution)
            current_job.reset(token)  # the thread is used again
        if self._is_green:
            self._report([(execution, outcome)])
            return
        self._ended.append((execution, outcome))
        if len(self._ended) < TOGETHER:
            green.after_short(self._report_ended)
        else:
            self._report_ended()

    def _report_ended(self) -> None:
        ended = []
        while self._ended:
            try:
                ended.append(self._ended.popleft())
            except IndexError:  # another thread was faster
                break
        if ended:
            self._report(ended)
