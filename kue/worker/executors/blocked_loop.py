"""Stop an attempt that blocks the event loop although it has lost its job: its ttl passed, or it was cancelled.

Its task cannot be cancelled, because the loop does not run. Instead, CancelledError is raised wherever the handler is.
If the loop is still blocked (by a call into C, or a handler that swallows the error), it is abandoned: the other
attempts on it are released, and run again on a new loop.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable
from typing import Any

from ..attempts.execution import Execution
from ..attempts.outcomes import is_own

#: Seconds that a stopped attempt may block the loop until CancelledError is raised in it. Once: it may clean up.
GRACE_S = 0.5
#: Seconds that a stopped attempt may block the loop until it is abandoned.
ABANDON_S = 5.0

class BlockedLoop:
    """Looks at the task that blocks a loop. ``is_running(task)`` returns whether it is still blocking the loop.

    ``abandon(execution)`` abandons the loop.
    """

    def __init__(self, is_running: Callable[[asyncio.Task[Any]], bool], abandon: Callable[[Execution], object]) -> None:
        self._is_running, self._abandon = is_running, abandon
        #: The reason to stop the task, when it was first seen (monotonic s), and what was done about it.
        self._interrupt: BaseException | None = None
        self._seen_at = 0.0
        self._has_raised = self._is_over = False

    def look(self, task: asyncio.Task[Any], execution: Execution, thread_id: int, now: float) -> None:
        """The task blocks the loop; ``thread_id`` is the loop's thread. Called in another thread."""
        interrupt = execution.job._interrupt
        if interrupt is None:
            return
        if interrupt is not self._interrupt:
            self._interrupt, self._seen_at = interrupt, now
            self._has_raised = self._is_over = False
        blocked_s = now - self._seen_at
        if blocked_s >= ABANDON_S and not self._is_over:
            self._is_over = True
            self._abandon(execution)
        elif blocked_s >= GRACE_S and not self._has_raised:
            self._has_raised = self._raise(task, execution, thread_id)

    def _raise(self, task: asyncio.Task[Any], execution: Execution, thread_id: int) -> bool:
        """Raise CancelledError in the loop's thread, and return True, unless the handler has just continued.

        This thread has just received the interpreter lock and keeps it meanwhile: nothing runs between check and raise.
        """
        frame = sys._current_frames().get(thread_id)
        set_error = ctypes.pythonapi.PyThreadState_SetAsyncExc
        if frame is None or is_own(frame) or not self._is_running(task):
            return False
        execution.was_raised |= task is execution.task
        set_error(ctypes.c_ulong(thread_id), ctypes.py_object(asyncio.CancelledError))
        return True
