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
    """What an asyncio job asks of the queue that it belongs to; store.py answers."""

    def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call ``fn``, and let the event loop go on where it waits for Redis; to be awaited at once."""
        ...

    def listen_soon(self, job_id: int | str, event: str, fn: Callable[..., object]) -> None:
        """Register a handler of events; the subscription begins in the background."""


def _awaited(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the awaitable form of a method of Job: with its signature and its docstring."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await self._owner.run(method, self, *args, **kwargs)  # type: ignore[no-any-return]
        except QueueUnavailable as exc:
            raise exc.with_traceback(None) from None  # the frames inside the library say nothing to the caller

    return call


def _iterated(method: Callable[Concatenate[Any, P], Iterator[R]]) -> Callable[Concatenate[Any, P], AsyncIterator[R]]:
    """Return the asynchronous form of a generator of Job."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        items = method(self, *args, **kwargs)
        while (item := await self._owner.run(next, items, _END)) is not _END:
            yield item

    return call


_END = object()


class AsyncJob(BaseJob):
    """One job of a ``kue.aio.Queue``: as ``kue.Job``, and what talks to Redis is awaited.

    An attempt of an ``async def`` handler has its fencing token in ``_token``; whoever stops it sets ``_interrupt``,
    which the next ``log`` or ``progress`` raises.
    """

    _owner: AsyncJobOwner

    # Life

    async def save(self) -> Self:
        """Create the job, or write data and options again if it exists; ``id`` is set afterwards.

        What many tasks save at the same time goes out in one call. A save whose task was cancelled may or may not have
        created the job; saving the same object again is safe. Raises InvalidJob for what cannot be stored, JobNotFound
        if it was removed meanwhile, QueueUnavailable within seconds if Redis is unreachable.
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
        """Call ``fn(*args)``, a function or a coroutine function, for each ``event`` of this job, on the event loop.

        Call it before ``save()`` to miss no event: on a saved job it begins to listen in the background. It ends with
        the job's last event.
        """
        check_job_event(event)
        check_callable(fn, "the handler of an event")
        if self.id is None or self._collected:
            self._listeners = [*self._listeners, (event, fn)]
        else:
            self._owner.listen_soon(self.id, event, fn)
        return self

    # For its handler

    log = _awaited(Job.log)
    progress = _awaited(Job.progress)

    async def add_children(self, jobs: AsyncJob | Iterable[AsyncJob]) -> None:
        """In the job's handler: save new jobs as its children, in one step. Return ``kue.WAIT`` to wait for them.

        Raises what ``log`` raises, and InvalidJob.
        """
        await _add_children(self, jobs)

    # Flows

    def children(self) -> AsyncIterator[AsyncJob]:
        """Yield the jobs that this one waits for, or waited for, in their order; removed ones are left out."""
        found: AsyncIterator[AsyncJob] = _children(self)
        return found

    child_results = _iterated(Job.child_results)

    _write = Job._write


# With the types of Job; the methods above have those of AsyncJob.
_save: Any = _awaited(Job.save)
_refresh: Any = _awaited(Job.refresh)
_add_children: Any = _awaited(Job.add_children)
_children: Any = _iterated(Job.children)
