"""Suspects: jobs that ran when two worker processes in a row died. They run alone, to find the one that is guilty.

If a child process can import the handler, a suspect runs in a dedicated one. Otherwise its worker process takes no more
jobs, waits until nothing runs, and runs it alone. This is recorded in the job's hash, and rescue.lua decides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..concurrency import green
from .attempts.deadlines import LOOK_S, Deadlines
from .attempts.engine_lock import EngineLock
from .attempts.execution import Execution
from .attempts.executor import Executor
from .attempts.handler import Handler, Kind
from .gate import gate
from .isolation.options import Isolation

log = logging.getLogger("kue.worker")

#: Consecutive worker process deaths that make a job suspect, as in rescue.lua.
SUSPECT_FROM = 2
#: Seconds that a suspect waits for other attempts to end. Then it runs alongside them, which proves nothing: one of
#: them may be waiting for it.
PATIENCE_S = 600.0

IN_CHILD = "Suspect: running in a separate child process"
ALONE = "Suspect: running alone in its worker process"
AMONG_OTHERS = "Suspect: running alongside other attempts, which did not end in time"


class Suspects:
    """Runs the suspects of one engine.

    ``holds(execution)`` returns whether an attempt is still running; ``delivered()`` starts what executors have queued.
    """

    def __init__(
        self,
        lock: EngineLock,
        deadlines: Deadlines,
        *,
        executor: Callable[[Kind], Executor],
        holds: Callable[[Execution], bool],
        delivered: Callable[[], object],
    ) -> None:
        self._lock, self._deadlines, self._executor = lock, deadlines, executor
        self._holds, self._delivered = holds, delivered
        #: The handlers that no child can import, and the child-process variants of others, by identity.
        self._not_importable: list[Handler] = []
        self._in_child: dict[int, Handler] = {}

    def takes(self, execution: Execution) -> bool:
        """If the job is suspect, run its attempt separately and return True. Called under the engine's lock."""
        if execution.job.deaths < SUSPECT_FROM:
            return False
        handler = execution.handler
        if handler.kind is not Kind.PROCESS and not self._is_importable(handler):
            gate.suspects.add(execution)
            green.spawn(self._run_alone, execution)
            return True
        if handler.kind is not Kind.PROCESS:
            execution.handler = self._for_child(handler)
            execution.if_no_child = lambda why: self._no_child(execution, handler, why)
        green.spawn(self._run_in_child, execution)
        return True

    def _is_importable(self, handler: Handler) -> bool:
        return handler.target is not None and not any(each is handler for each in self._not_importable)

    def _for_child(self, handler: Handler) -> Handler:
        known = self._in_child.get(id(handler))
        if known is None:
            known = self._in_child[id(handler)] = handler._replace(kind=Kind.PROCESS, isolation=Isolation())
        return known

    def _no_child(self, execution: Execution, handler: Handler, why: str) -> None:
        """Run the suspect here, since a child cannot import the handler after all."""
        log.warning("Job %s is suspect, but no child process can run it (%s)", execution.job.id, why)
        self._not_importable.append(handler)
        execution.handler, execution.if_no_child = handler, None
        with self._lock:
            gate.suspects.add(execution)
        green.spawn(self._run_alone, execution)

    def _run_in_child(self, execution: Execution) -> None:
        log.warning("Job %s is suspect: two worker processes died while they ran it; it runs alone", execution.job.id)
        self._begin(execution, IN_CHILD, alone=False)

    def _run_alone(self, execution: Execution) -> None:
        log.warning("Job %s is suspect: this process runs nothing else until it has ended", execution.job.id)
        try:
            if not self._deadlines.wait(execution, lambda: gate.take_turn(execution)):
                return
            alone = self._deadlines.wait(execution, gate.is_alone, time.monotonic() + PATIENCE_S)
            self._begin(execution, ALONE if alone else AMONG_OTHERS, alone=alone)
            while alone and self._holds(execution):
                green.sleep(LOOK_S)
        finally:
            gate.leave(execution)

    def _begin(self, execution: Execution, line: str, *, alone: bool) -> None:
        """Record the start in Redis, and run the attempt if it still holds its job."""
        if self._deadlines.begin(execution, line, alone=alone):
            with self._lock:
                if self._holds(execution):
                    self._executor(execution.handler.kind).start(execution)
            self._delivered()
