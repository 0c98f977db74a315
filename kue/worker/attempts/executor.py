"""The interface between the engine and executors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ...errors import JobInterrupt
from ...storage.script_values import Outcome
from .execution import Execution
from .handler import Handler

#: Receives the outcome of an ended attempt, once; None if the attempt has lost its job.
Report = Callable[[Execution, Outcome | None], None]
#: The same for several attempts at once.
ReportAll = Callable[[Sequence[tuple[Execution, Outcome | None]]], None]


class Executor(Protocol):
    """Runs attempts, and reports each outcome to a ``Report``."""

    def prepare(self, job_type: str, handler: Handler, count: int) -> None:
        """Prepare for a handler with ``count`` slots. Called under the engine's lock."""

    def start(self, execution: Execution) -> None:
        """Start an attempt without waiting for it. Called under the engine's lock.

        Raises if it cannot be started here now; the job is then released.
        """

    def interrupt(self, execution: Execution, exc: JobInterrupt) -> None:
        """Stop an attempt that has lost its job: raise ``exc`` in its handler if possible. It is not reported again."""

    def has_leftovers(self) -> bool:
        """Return whether handlers still run in this process although their attempts have been stopped."""

    def stop(self) -> None:
        """Free all resources. Called after the engine has stopped and nothing runs."""
