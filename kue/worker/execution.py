"""One attempt of a job in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..job import Job
from .slots import Slot


class Context:
    """What a handler ``(job, ctx, done)`` gets as ``ctx``: control of its type in this process, as in Node Kue."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        #: Take no new job of this type in this process; those that run go on.
        self.pause = pause
        #: Take jobs of this type again.
        self.resume = resume


class Execution:
    """One attempt at one job, in the slot that it was reserved for."""

    __slots__ = ("context", "error", "handler", "has_begun", "if_no_child", "job", "slot", "started_at", "task", "type")

    def __init__(self, job: Job, job_type: str, slot: Slot, context: Context) -> None:
        self.job, self.slot, self.context = job, slot, context
        #: The type whose slot it has. The job's own is a field that anybody may have written.
        self.type = job_type
        #: What runs it; for a suspect, another form of the slot's.
        self.handler = slot.handler
        #: What is done with a suspect that no child process can run.
        self.if_no_child: Callable[[str], None] | None = None
        #: Whether a child process runs it.
        self.has_begun = False
        #: When it began, monotonic s.
        self.started_at = time.monotonic()
        #: What its executor runs it by.
        self.task: Any = None
        #: What the handler raised, if it failed.
        self.error: BaseException | None = None
