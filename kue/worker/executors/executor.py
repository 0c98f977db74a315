"""What the engine asks of an executor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ...errors import JobInterrupt
from ...storage.script_values import Outcome
from ..execution import Execution
from ..handler import Handler

#: Takes the outcome of an attempt that has ended, once; None if there is nothing left to say about its job.
Report = Callable[[Execution, Outcome | None], None]
#: The same for several attempts at once.
ReportAll = Callable[[Sequence[tuple[Execution, Outcome | None]]], None]


class Executor(Protocol):
    """Runs attempts, and tells a ``Report`` how each of them ended."""

    def prepare(self, job_type: str, handler: Handler, count: int) -> None:
        """A handler has ``count`` slots from now on. Called under the engine's lock."""

    def start(self, execution: Execution) -> None:
        """Begin an attempt, without waiting for it. Called under the engine's lock.

        Raises if it cannot be begun here now: the job is released then.
        """

    def interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        """Stop an attempt that has lost its job: raise ``exc`` in its handler if possible. It is reported already."""

    def has_leftovers(self) -> bool:
        """Return whether handlers still run in this process whose attempts are over: told to stop, they go on."""

    def stop(self) -> None:
        """The engine has stopped, and nothing runs any more: free what the executor holds."""
