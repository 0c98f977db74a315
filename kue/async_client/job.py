"""A job of kue.aio: the options and fields of every job, and awaitable calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, Self, TypeVar

from ..base_job import BaseJob, JobOwner
from ..errors import QueueUnavailable
from ..job import Job
from ..storage.arguments import check_callable, check_job_event

P = ParamSpec("P")
R = TypeVar("R")


class AsyncJobOwner(JobOwner["AsyncJob"], Protocol):
    """What an asyncio job needs from its queue; implemented in store.py."""

    def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call ``fn`` without blocking the event loop while it waits for Redis. Await the result immediately."""
        ...

    def listen_soon(self, job_id: int | str, event: str, fn: Callable[..., object]) -> None:
        """Register an event handler; the subscription starts in the background."""


def _awaited(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return an awaitable version of a Job method, with the same signature and docstring."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await self._owner.run(method, self, *args, **kwargs)  # type: ignore[no-any-return]
        except QueueUnavailable as exc:
            raise exc.with_traceback(None) from None  # hide the library's frames from the caller

    return call


def _iterated(method: Callable[Concatenate[Any, P], Iterator[R]]) -> Callable[Concatenate[Any, P], AsyncIterator[R]]:
    """Return an asynchronous version of a Job generator method."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        items = method(self, *args, **kwargs)
        while (item := await self._owner.run(next, items, _END)) is not _END:
            yield item

    return call


_END = object()


class AsyncJob(BaseJob):
    """A job of a ``kue.aio.Queue``: like ``kue.Job``, but methods that talk to Redis are awaited.

    In an ``async def`` handler, ``_token`` is the attempt's fencing token. Stopping the attempt sets ``_interrupt``,
    which the next ``log`` or ``progress`` raises.
    """

    _owner: AsyncJobOwner

    # Life

    async def save(self) -> Self:
        """Create the job and set ``id``; if it exists already, update its data and options.

        Concurrent saves are combined into one call. If the task is cancelled, the job may or may not have been created;
        saving the same object again is safe. Raises InvalidJob for data that cannot be stored, JobNotFound if the job
        was removed meanwhile, QueueUnavailable within seconds if Redis is unreachable.
        """
        await _save(self)
        return self

    async def refresh(self) -> Self:
        """Read the job again. Raises JobNotFound."""
        await _refresh(self)
        return self

    remove = _awaited(Job.remove)
    cancel = _awaited(Job.cancel)
    wait = _awaited(Job.wait)

    @staticmethod
    async def get(queue: Any, job_id: int | str) -> AsyncJob:
        """Read a job of a Queue. Raises JobNotFound."""
        job: AsyncJob = await queue.get(job_id)
        return job

    def on(self, event: str, fn: Callable[..., object]) -> Self:
        """Call ``fn(*args)`` on the event loop for each ``event`` of this job. ``fn`` may be a coroutine function.

        Call it before ``save()`` to miss no event: on a saved job, listening starts in the background. It stops after
        the job's last event.
        """
        check_job_event(event)
        check_callable(fn, "the handler of an event")
        if self.id is None or self._collected:
            self._listeners = [*self._listeners, (event, fn)]
        else:
            self._owner.listen_soon(self.id, event, fn)
        return self

    # For handlers

    log = _awaited(Job.log)
    progress = _awaited(Job.progress)

    async def add_children(self, jobs: AsyncJob | Iterable[AsyncJob]) -> None:
        """In the job's handler: save new jobs as its children, atomically. Return ``kue.WAIT`` to wait for them.

        Raises InvalidJob, and the same errors as ``log``.
        """
        await _add_children(self, jobs)

    # Flows

    def children(self) -> AsyncIterator[AsyncJob]:
        """Yield the jobs that this one waits for, or waited for, in order. Removed jobs are skipped."""
        found: AsyncIterator[AsyncJob] = _children(self)
        return found

    child_results = _iterated(Job.child_results)

    _write = Job._write


# Typed like Job; the methods above are typed for AsyncJob.
_save: Any = _awaited(Job.save)
_refresh: Any = _awaited(Job.refresh)
_add_children: Any = _awaited(Job.add_children)
_children: Any = _iterated(Job.children)
