"""Suspects: jobs under which two worker processes died in a row. They run apart, so that the guilty one shows itself.

Where a child process can import the handler, a suspect runs in one of its own. Elsewhere its worker process takes no
more jobs, waits until nothing runs, and runs it alone; the job's hash says so, and rescue.lua draws the conclusion.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ..concurrency import green
from .deadlines import LOOK_S, Deadlines
from .execution import Execution
from .executors.executor import Executor
from .gate import gate
from .handler import Handler, Kind
from .isolation.options import Isolation

log = logging.getLogger("kue.worker")

#: Deaths of worker processes in a row that make a job suspect, as in rescue.lua.
SUSPECT_FROM = 2
#: Seconds that a suspect waits for other attempts to end. After that it runs among them, and proves nothing: one of
#: them may be waiting for it.
PATIENCE_S = 600.0

IN_CHILD = "Suspect: it runs in a child process of its own"
ALONE = "Suspect: its worker process runs nothing else meanwhile"
AMONG_OTHERS = "Suspect: it runs among other attempts, which do not end"


class Suspects:
    """Runs the suspects of one engine.

    ``holds(execution)`` tells whether an attempt has not ended; ``delivered()`` lets begin what was started.
    """

    def __init__(
        self,
        cond: threading.Condition,
        deadlines: Deadlines,
        *,
        executor: Callable[[Kind], Executor],
        holds: Callable[[Execution], bool],
        delivered: Callable[[], object],
    ) -> None:
        self._cond, self._deadlines, self._executor = cond, deadlines, executor
        self._holds, self._delivered = holds, delivered
        #: The handlers that no child can import, and the forms of others that run in a child, by identity.
        self._not_importable: list[Handler] = []
        self._in_child: dict[int, Handler] = {}

    def takes(self, execution: Execution) -> bool:
        """Begin an attempt apart, if its job is suspect; return whether it is. Called under the engine's lock."""
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
        """A child cannot import the handler after all: run the suspect here."""
        log.warning("Job %s is suspect, but no child process can run it (%s)", execution.job.id, why)
        self._not_importable.append(handler)
        execution.handler, execution.if_no_child = handler, None
        with self._cond:
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
        """Tell Redis, and let the attempt run if it still holds its job."""
        if self._deadlines.begin(execution, line, alone=alone):
            with self._cond:
                if self._holds(execution):
                    self._executor(execution.handler.kind).start(execution)
            self._delivered()
