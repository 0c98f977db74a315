"""Run attempts in child processes, one attempt at a time in each."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ...backoff import BackoffFunction
from ...concurrency import green
from ...errors import JobInterrupt
from ...storage.script_values import Outcome
from ..attempts.execution import Execution
from ..attempts.executor import Report
from ..attempts.handler import Handler
from ..attempts.outcomes import Failure, RemoteError, as_error, failed, not_runnable, released
from ..child_processes.messages import Message
from ..child_processes.parent.child_handle import ChildHandle
from ..child_processes.parent.mailbox import Mailbox
from ..child_processes.parent.pool import Pool
from ..child_processes.parent.requests import answer
from ..child_processes.parent.supervision import Supervision

log = logging.getLogger("kue.worker")

#: Seconds that ``stop`` gives children before it kills them, and then waits for them to end.
STOP_S, KILLED_S = 1.0, 1.0


class ProcessExecutor:
    """Runs each attempt in a child process of its handler.

    ``set_ready(type, is_ready)``: jobs of a type are fetched only while it has a ready child. ``wait(execution,
    is_over)`` keeps extending an attempt's ttl until a child is free.
    """

    def __init__(
        self,
        prefix: str,
        report: Report,
        backoffs: Mapping[str, BackoffFunction],
        set_ready: Callable[[str, bool], object],
        wait: Callable[[Execution, Callable[[], bool]], object],
    ) -> None:
        self._wait = wait
        self._prefix, self._report, self._backoffs, self._set_ready = prefix, report, backoffs, set_ready
        #: By the handler's identity; the pool keeps the handler alive. Supervising thread only.
        self._pools: dict[int, Pool] = {}
        self._prepared: set[int] = set()
        #: How many children to keep from the first attempt on, by handler. For the supervising thread.
        self._sizes: dict[int, int] = {}
        self._mailbox = Mailbox()
        self._supervision = Supervision()
        self._mailbox.start()
        self._supervision.start()

    def prepare(self, job_type: str, handler: Handler, count: int) -> None:
        """Keep ``count`` children of a handler, with ``prestart`` from now on.

        Then its first jobs are fetched when the first child is ready.
        """
        assert handler.isolation is not None
        if handler.isolation.prestart and id(handler) not in self._prepared:
            self._prepared.add(id(handler))
            self._set_ready(job_type, False)
        self._supervision.post(self._resize, job_type, handler, count)

    def start(self, execution: Execution) -> None:
        self._supervision.post(self._start, execution)

    def interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        """Raise ``exc`` in the child's main thread, and kill the child if it has not ended within the grace period."""
        self._supervision.post(self._interrupt, execution, exc)

    def has_leftovers(self) -> bool:
        return False  # what runs in a child cannot take this process down

    def stop(self) -> None:
        """End all children; they have STOP_S for it."""
        kill_at = time.monotonic() + STOP_S
        self._supervision.post(self._supervision.stop, kill_at)
        while not self._supervision.has_ended and time.monotonic() < kill_at + KILLED_S:
            green.sleep(0.01)
        self._mailbox.close()

    # In the supervising thread

    def _resize(self, job_type: str, handler: Handler, count: int) -> None:
        pool = self._pool(job_type, handler)
        if pool.size or pool.is_prestarted:
            pool.size = count
        else:
            self._sizes[id(handler)] = count

    def _start(self, execution: Execution) -> None:
        pool = self._pool(execution.type, execution.handler)
        pool.size = self._sizes.pop(id(execution.handler), pool.size)
        pool.start(execution)

    def _interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        self._pool(execution.type, execution.handler).interrupt(execution, exc)

    def _pool(self, job_type: str, handler: Handler) -> Pool:
        pool = self._pools.get(id(handler))
        if pool is None:
            pool = Pool(job_type, handler, self._prefix, self, self._supervision.adopt)
            self._pools[id(handler)] = pool
            self._supervision.pools.append(pool)
        return pool

    # Called by pools in the supervising thread; handled in the engine's

    def ended(self, execution: Execution, message: Message) -> None:
        self._mailbox.put(self._take_in, execution, message)

    def died(self, execution: Execution, why: str, stderr: str) -> None:
        text = f"{why}\n{stderr}" if stderr else why
        execution.error = RemoteError(why, "")  # its stderr is in the worker's log already
        self._mailbox.put(self._fail, execution, Failure(text, text, why, crashed=True))

    def ready(self, job_type: str) -> None:
        self._mailbox.put(self._set_ready, job_type, True)

    def not_ready(self, job_type: str) -> None:
        self._mailbox.put(self._set_ready, job_type, False)

    def waits(self, execution: Execution) -> None:
        self._mailbox.put(green.spawn, self._wait, execution, lambda: execution.has_begun)

    def not_started(self, execution: Execution, why: str) -> None:
        self._mailbox.put(self._release, execution, why)

    def asked(self, child: ChildHandle, execution: Execution, message: Message) -> None:
        self._mailbox.put(green.spawn, self._answer, child, execution, message)

    # In the engine's threads

    def _answer(self, child: ChildHandle, execution: Execution, message: Message) -> None:
        self._supervision.post(child.send, answer(execution, message))

    def _take_in(self, execution: Execution, message: Message) -> None:
        job = execution.job
        if "failure" in message:
            failure = Failure(*message["failure"])
            execution.error = as_error(failure)
            self._fail(execution, failure)
        elif message["verb"] == "lost":
            self._report(execution, None)
        elif message["verb"] == "stopped":
            self._report(execution, released(str(job.id), job._token))
        else:
            values = tuple(map(str, message["values"]))
            self._report(execution, Outcome(message["verb"], str(job.id), job._token, values))

    def _fail(self, execution: Execution, failure: Failure) -> None:
        green.spawn(self._decide, execution, failure)

    def _decide(self, execution: Execution, failure: Failure) -> None:
        """Report a failure, in a separate thread because it runs the user's backoff function."""
        job = execution.job
        try:
            outcome: Any = failed(job, failure, self._backoffs)
        except Exception as exc:
            log.exception("Job %s: cannot determine its outcome", job.id)
            outcome = not_runnable(str(job.id), job._token, exc)
        self._report(execution, outcome)

    def _release(self, execution: Execution, why: str) -> None:
        if execution.if_no_child is not None:
            execution.if_no_child(why)
            return
        job = execution.job
        self._report(execution, released(str(job.id), job._token, f"no child process for it ({why})"))
