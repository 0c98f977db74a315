"""In a child process: raise the parent's interrupts in the main thread, where the handler runs.

The parent writes the reason to the control pipe, then sends SIGTERM. A SIGTERM without a reason is ignored: a service
manager signals every process of a service, but the parent decides when attempts stop.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .... import errors
from ....concurrency import green
from ....errors import JobInterrupt
from ....job import Job

#: Reasons to stop an attempt, by name.
_KINDS = {each.__name__: each for each in (errors.JobTimeout, errors.JobCancelled, errors.WorkerStopping)}


class Interrupts:
    """Raises an interrupt from the control pipe, once, while the handler runs."""

    def __init__(self, control_fd: int) -> None:
        self._fd, self._os = control_fd, green.original("os")
        self._os.set_blocking(control_fd, False)
        self._text = b""
        self._run, self._job = 0, None
        #: The interrupt to raise; also kept in the job.
        self._due: JobInterrupt | None = None
        self._is_open = self._is_deferred = False
        #: Stops an async handler, instead of raising.
        self.stop_task: Callable[[], object] | None = None
        self._thread = green.original("threading").get_ident()
        signal.signal(signal.SIGTERM, self._came)

    def begin(self, run: int, job: Job) -> None:
        """Allow interrupts: the handler starts."""
        self._run, self._job, self._due = run, job, None  # type: ignore[assignment]
        self._is_open = True

    def end(self) -> None:
        self._is_open = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Defer interrupts to the end of this block: a message must not be cut in two."""
        if green.original("threading").get_ident() != self._thread:  # interrupts are never raised in other threads
            yield
            return
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
        self._raise_due()

    def _came(self, number: int, frame: object) -> None:
        try:
            while part := self._os.read(self._fd, 65_536):
                self._text += part
        except BlockingIOError:
            pass
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            self._take(json.loads(line))
        self._raise_due()

    def _take(self, message: dict[str, Any]) -> None:
        if message["run"] == self._run and self._job is not None:
            self._due = self._job._interrupt = _KINDS[message["interrupt"]](message["text"])

    def _raise_due(self) -> None:
        if self._due is None or not self._is_open or self._is_deferred:
            return
        due, self._due = self._due, None
        if self.stop_task is not None:
            self.stop_task()
        else:
            raise due
