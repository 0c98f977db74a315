"""One attempt of a job in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ...job import Job
from .slots import Slot


class Context:
    """The ``ctx`` of a handler ``(job, ctx, done)``: pauses and resumes its type in this process, as in Node Kue."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        #: Take no new jobs of this type in this process; running ones continue.
        self.pause = pause
        #: Take jobs of this type again in this process.
        self.resume = resume


class Execution:
    """One attempt of a job, in the slot it was reserved for."""

    __slots__ = (
        "context", "error", "handler", "has_begun", "if_no_child", "job", "slot", "started_at", "task", "type",
        "was_raised",
    )  # fmt: skip

    def __init__(self, job: Job, job_type: str, slot: Slot, context: Context) -> None:
        self.job, self.slot, self.context = job, slot, context
        #: The type whose slot it has. The job's own type is a field that any program can change.
        self.type = job_type
        #: Its handler; for a suspect, a variant of the slot's handler.
        self.handler = slot.handler
        #: Called for a suspect that no child process can run.
        self.if_no_child: Callable[[str], None] | None = None
        #: Whether a child process runs it.
        self.has_begun = False
        #: Start time, monotonic s.
        self.started_at = time.monotonic()
        #: The executor's own object for it, such as a thread or task.
        self.task: Any = None
        #: Whether CancelledError was raised in its task, because it blocked the event loop.
        self.was_raised = False
        #: What the handler raised, if it failed.
        self.error: BaseException | None = None
