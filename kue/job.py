"""A job that blocks where it talks to Redis: its life, and what its handler may do with it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, Self

from .base_job import BaseJob
from .concurrency import bridge
from .errors import InvalidJob, JobNotFound, LeaseLost, QueueUnavailable
from .storage.arguments import check_callable, check_job_event, check_timeout
from .storage.codec import format_line, percent, to_json
from .storage.hash_fields import read_result

#: Seconds that an attempt which has lost its job waits for the reason.
REASON_S = 0.5


class Job(BaseJob):
    """One job of a queue, made by ``queue.create`` or read by ``queue.get``.

    The option methods return the job, so that they chain. The fields hold what Redis held when the job was read or
    saved; ``refresh()`` reads it again. Times are epoch ms, durations ms; a field that does not apply is None.
    """

    # Life

    def save(self) -> Self:
        """Create the job, or write data and options again if it exists; ``id`` is set afterwards.

        Raises InvalidJob for what cannot be stored, JobNotFound if it was removed meanwhile, QueueUnavailable within
        seconds if Redis is unreachable.
        """
        try:
            if self.id is None:
                self._owner.create([self])
            else:
                self._owner.update(self)
        except QueueUnavailable as exc:
            raise exc.with_traceback(None) from None  # the frames inside the library say nothing to the caller
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

        Call it before ``save()`` to miss no event. It ends with the job's last event.
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

    # For its handler

    def log(self, template: Any, *args: Any) -> None:
        """Append a line to the job's log: printf style as in Node, with any objects (as JSON where they can be).

        In an attempt that no longer holds the job it raises what stopped it: JobTimeout, JobCancelled, or LeaseLost if
        that is not known. Raises JobNotFound if the job is gone.
        """
        self._raise_if_interrupted()
        line = format_line(template, args)
        if self._collected:
            self._owner.test_mode.log(self, line)
        else:
            self._write(lambda: self._owner.log(self._saved_id(), self._token, line))

    def progress(self, done: float, total: float = 100, data: Any = None) -> None:
        """Report progress: ``done`` of ``total``, with any JSON data. Restarts the ttl.

        Raises what ``log`` raises.
        """
        self._raise_if_interrupted()
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
        """In the job's handler: save new jobs as its children, in one step. Return ``kue.WAIT`` to wait for them.

        Raises what ``log`` raises, and InvalidJob.
        """
        self._raise_if_interrupted()
        added = self._jobs_of(jobs)
        if any(job.id is not None for job in added):
            raise InvalidJob("add_children takes new jobs: save the job with after() to wait for those that exist")
        if added:
            lane = uuid.uuid4().hex[:16]  # the same for each try
            self._write(lambda: self._owner.create_flow(added, self, lane))

    def children(self) -> Iterator[Self]:
        """Yield the jobs that this one waits for, or waited for, in their order; removed ones are left out."""
        for page in self._owner.children(self._saved_id()):
            ids = [child for child, _ in page]
            for child, raw in zip(ids, self._owner.hashes(ids), strict=True):
                if "type" in raw:
                    yield self.from_hash(self._owner, child, raw)

    def _foremost_children(self, count: int) -> list[Self]:
        """Return ``count`` of the children, those first that need a look: failed, then pending, then complete ones."""
        ids = self._owner.foremost_children(self._saved_id(), count)
        hashes = zip(ids, self._owner.hashes(ids), strict=True)
        return [self.from_hash(self._owner, child, raw) for child, raw in hashes if "type" in raw]

    def child_results(self) -> Iterator[tuple[int | str, Any]]:
        """Yield (id, result) for each child that has completed, in their order; removed ones are left out."""
        for page in self._owner.children(self._saved_id()):
            ids = [child for child, state in page if state == "complete"]
            for child, raw in zip(ids, self._owner.hashes(ids), strict=True):
                if "type" in raw:
                    yield child, read_result(raw)

    def _write(self, write: Callable[[], object]) -> None:
        """Write to the job; if the attempt has lost it, wait a moment for the reason, which is on its way.

        While Redis is unreachable an attempt waits, however long that is: its handler has done nothing wrong.
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
