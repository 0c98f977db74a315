"""The synchronous job: saving, reading, waiting, and the methods for its handler."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Self

from .base_job import BaseJob
from .concurrency import bridge
from .errors import InvalidJob, JobNotFound, LeaseLost, QueueUnavailable
from .storage.arguments import check_callable, check_job_event, check_progress, check_timeout
from .storage.codec import format_line, percent, to_json
from .storage.hash_fields import read_result

#: Seconds that an attempt waits for the reason after losing its job.
REASON_S = 0.5


class Job(BaseJob):
    """A job of a queue, created by ``queue.create`` or read by ``queue.get``.

    The option methods return the job, for chaining. The fields are as of the last read or save; ``refresh()`` reads
    them again. Times are epoch ms, durations ms; a field that does not apply is None.
    """

    # Life

    def save(self) -> Self:
        """Create the job and set ``id``; if it exists already, update its data and options.

        Raises InvalidJob for data that cannot be stored, JobNotFound if the job was removed meanwhile, QueueUnavailable
        within seconds if Redis is unreachable.
        """
        try:
            if self.id is None:
                self._owner.create([self])
            else:
                self._owner.update(self)
        except QueueUnavailable as exc:
            raise exc.with_traceback(None) from None  # hide the library's frames from the caller
        return self

    def refresh(self) -> Self:
        """Read the job again. Raises JobNotFound."""
        if self._collected:
            return self
        return self._fill(self._owner.read(self._saved_id()))

    def remove(self) -> None:
        """Remove the job in whatever state it is. Raises JobNotFound."""
        if self._collected:
            self._owner.test_mode.drop(self)
        else:
            self._owner.remove(self._saved_id())

    def cancel(self) -> None:
        """Fail the job with the error "Cancelled". Raises JobNotFound, or WrongState if it has ended."""
        self._not_collected("be cancelled")
        self._owner.cancel(self._saved_id())

    @staticmethod
    def get(queue: Any, job_id: int | str) -> Job:
        """Read a job of a Queue. Raises JobNotFound."""
        job: Job = queue.get(job_id)
        return job

    def on(self, event: str, fn: Callable[..., object]) -> Self:
        """Call ``fn(*args)`` for each ``event`` of this job ("complete", "failed attempt" …), in the listener's thread.

        Call it before ``save()`` to miss no event. It stops after the job's last event.
        """
        check_job_event(event)
        check_callable(fn, "the handler of an event")
        if self.id is None or self._collected:
            self._listeners = [*self._listeners, (event, fn)]
        else:
            self._owner.listen(self.id, event, fn)
        return self

    def wait(self, timeout_s: float | timedelta | None = None) -> Any:
        """Wait until the job has finished, at most ``timeout_s`` (seconds, or a timedelta); return its result.

        Raises JobFailed if it failed for good, JobNotFound if it was removed, WaitTimeout after ``timeout_s``.
        """
        self._not_collected("end")
        return self._owner.wait(self, check_timeout(timeout_s))

    # For handlers

    def log(self, template: Any, *args: Any) -> None:
        """Append a line to the job's log, printf style as in Node. Objects are formatted as JSON if possible.

        If the attempt no longer holds the job, raises the reason: JobTimeout, JobCancelled, or LeaseLost if unknown.
        Raises JobNotFound if the job was removed.
        """
        self._raise_if_interrupted()
        line = format_line(template, args)
        if self._collected:
            self._owner.test_mode.log(self, line)
        else:
            self._write(lambda: self._owner.log(self._saved_id(), self._token, line))

    def progress(self, done: float, total: float = 100, data: Any = None) -> None:
        """Report progress: ``done`` of ``total``, with any JSON data. Restarts the ttl.

        Raises the same errors as ``log``.
        """
        self._raise_if_interrupted()
        check_progress(done, total)
        text, keep = to_json(data), data is not None
        if not self._collected:
            self._saved_id()
        self.progress_percent = percent(done, total)
        if keep:
            self.progress_data = data
        if not self._collected:
            self._write(lambda: self._owner.progress(self, self._token, self.progress_percent, text, keep))

    # Flows

    def add_children(self, jobs: Job | Iterable[Job]) -> None:
        """In the job's handler: save new jobs as its children, atomically. Return ``kue.WAIT`` to wait for them.

        Raises InvalidJob, and the same errors as ``log``.
        """
        self._raise_if_interrupted()
        self._saved_id()
        added = self._jobs_of(jobs)
        if any(job.id is not None for job in added):
            raise InvalidJob("add_children takes new jobs: to wait for existing ones, save the job with after()")
        if added:
            lane = uuid.uuid4().hex[:16]  # the same for every retry
            self._write(lambda: self._owner.create_flow(added, self, lane))

    def children(self) -> Iterator[Self]:
        """Yield the jobs that this one waits for, or waited for, in order. Removed jobs are skipped."""
        for page in self._owner.children(self._saved_id()):
            ids = [child for child, _ in page]
            for child, raw in zip(ids, self._owner.hashes(ids), strict=True):
                if "type" in raw:
                    yield self.from_hash(self._owner, child, raw)

    def _foremost_children(self, count: int) -> list[Self]:
        """Return up to ``count`` of the children: failed ones first, then pending, then complete ones."""
        ids = self._owner.foremost_children(self._saved_id(), count)
        hashes = zip(ids, self._owner.hashes(ids), strict=True)
        return [self.from_hash(self._owner, child, raw) for child, raw in hashes if "type" in raw]

    def child_results(self) -> Iterator[tuple[int | str, Any]]:
        """Yield (id, result) for each completed child, in order. Removed jobs are skipped."""
        for page in self._owner.children(self._saved_id()):
            ids = [child for child, state in page if state == "complete"]
            for child, raw in zip(ids, self._owner.hashes(ids), strict=True):
                if "type" in raw:
                    yield child, read_result(raw)

    def _write(self, write: Callable[[], object]) -> None:
        """Write to the job. If the attempt has lost it, wait briefly for the reason to arrive.

        While Redis is unreachable, an attempt waits without limit.
        """
        try:
            while True:
                try:
                    write()
                    return
                except QueueUnavailable:
                    if not self._token:
                        raise
                    self._raise_if_interrupted()
        except (LeaseLost, JobNotFound):
            give_up = time.monotonic() + REASON_S
            while self._token and time.monotonic() < give_up:
                self._raise_if_interrupted()
                bridge.sleep(0.01)
            raise
