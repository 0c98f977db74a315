"""Extend the ttl of attempts that wait for a child process or to run alone: waiting uses none of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ...concurrency import green
from ...connection.dedicated import DedicatedConnection
from ...connection.failures import is_transient
from ...storage.script_values import ScriptResult
from ...storage.scripts import Scripts
from .execution import Execution

log = logging.getLogger("kue.worker")

#: Poll interval of a waiting attempt, and delay before a call to Redis is repeated, seconds.
LOOK_S, REPEAT_S = 0.02, 0.5


class Deadlines:
    """Lets attempts wait. ``holds(execution)`` returns whether an attempt is still running."""

    def __init__(
        self,
        scripts: Scripts,
        connection: Callable[[], DedicatedConnection],
        holds: Callable[[Execution], bool],
    ) -> None:
        self._scripts, self._connection, self._holds = scripts, connection, holds

    def wait(self, execution: Execution, is_over: Callable[[], bool], give_up_at: float = float("inf")) -> bool:
        """Wait until ``is_over()``. Return False if the attempt ends or ``until`` (monotonic s) passes first.

        Runs in a thread of the engine's kind.
        """
        ttl_ms = execution.job.options.ttl_ms
        extend_at = time.monotonic() if ttl_ms else float("inf")
        connection = self._connection()
        try:
            while self._holds(execution) and time.monotonic() < give_up_at:
                if is_over():
                    return True
                if time.monotonic() >= extend_at:
                    self.tell(connection, execution, "")
                    extend_at = time.monotonic() + ttl_ms / 3000
                green.sleep(LOOK_S)
            return False
        finally:
            connection.disconnect()

    def begin(self, execution: Execution, line: str, *, alone: bool) -> bool:
        """Record that a separate attempt starts now; return whether it still holds its job."""
        connection = self._connection()
        try:
            return self.tell(connection, execution, line, alone=alone)
        finally:
            connection.disconnect()

    def tell(self, connection: DedicatedConnection, execution: Execution, line: str, *, alone: bool = False) -> bool:
        """Extend the deadline and append a line to the job's log; return whether the attempt still holds its job."""
        job = execution.job
        while self._holds(execution):
            try:
                code = self._scripts.isolate(connection.client, job.id, job._token, line, alone=alone)
                return code == ScriptResult.OK
            except Exception as exc:
                connection.disconnect()
                if not is_transient(exc):
                    log.exception("Job %s: cannot record the start of its attempt", job.id)
                    return True
                green.sleep(REPEAT_S)
        return False
