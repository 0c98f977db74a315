"""Middleware: code around the creation and the execution of every job of a queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from .errors import InvalidJob
from .job import Job

#: Passes a new job to the next middleware, finally to Redis.
CreateNext = Callable[[Job], None]
#: Passes a running job to the next middleware, finally to its handler, and returns the handler's result.
ExecuteNext = Callable[[Job], Any]
AsyncCreateNext = Callable[[Any], Awaitable[None]]
AsyncExecuteNext = Callable[[Any], Awaitable[Any]]

METHODS = ("create", "execute", "acreate", "aexecute")


class Middleware(Protocol):
    """Base class for ``queue.use``. Override the methods you need: by default they only pass the job on.

    A method can act before and after ``call_next(job)``. It may catch or replace the exceptions of ``call_next``, or
    raise instead of calling it.
    """

    def create(self, job: Job, call_next: CreateNext) -> None:
        """Called with each new job before it is saved. May change its data and options, or raise to reject it.

        After ``call_next`` the job has its id, except with ``create_many``, which saves all jobs together after each
        was passed on. Not called for jobs of a schedule: Redis creates them.
        """
        call_next(job)

    def execute(self, job: Job, call_next: ExecuteNext) -> Any:
        """Called in a worker for each attempt, instead of the handler. Its return value is the job's result.

        An exception fails the attempt as if the handler had raised it.
        """
        return call_next(job)

    async def acreate(self, job: Any, call_next: AsyncCreateNext) -> None:
        """Called instead of ``create`` for a job of ``kue.aio``."""
        await call_next(job)

    async def aexecute(self, job: Any, call_next: AsyncExecuteNext) -> Any:
        """Called instead of ``execute`` for an ``async def`` handler."""
        return await call_next(job)


def check_middleware(middleware: object) -> None:
    """Raise InvalidJob unless the object has the methods."""
    missing = [name for name in METHODS if not callable(getattr(middleware, name, None))]
    if missing or isinstance(middleware, type):
        wrong = "a class" if isinstance(middleware, type) else f"{middleware!r}, which has no {missing[0]}"
        raise InvalidJob(f"queue.use takes an instance of a subclass of kue.Middleware, not {wrong}")


def compose(handler: ExecuteNext, middlewares: Sequence[Middleware]) -> ExecuteNext:
    """Return ``handler`` inside the ``execute`` of each middleware, the first outermost; itself if there is none."""
    for each in reversed(middlewares):
        handler = _around(each.execute, handler)
    return handler


def acompose(handler: AsyncExecuteNext, middlewares: Sequence[Middleware]) -> AsyncExecuteNext:
    """Return ``handler`` inside the ``aexecute`` of each middleware, the first outermost; itself if there is none."""
    for each in reversed(middlewares):
        handler = _around(each.aexecute, handler)
    return handler


def create_through(
    creates: Sequence[Callable[[Any, Callable[[Any], None]], None]], made: Sequence[Any], save: Callable[[], None]
) -> None:
    """Pass new jobs through each middleware's ``create``, the first outermost, to ``save``, which saves them all.

    A single job is saved inside them; several are saved after each was passed on, in as few calls as possible.
    """
    handed_on: set[int] = set()

    def take(job: Any) -> None:
        handed_on.add(id(job))
        if len(made) == 1:
            save()

    chain: Callable[[Any], None] = take
    for each in reversed(creates):
        chain = _around(each, chain)
    for job in made:
        chain(job)
        if id(job) not in handed_on:
            raise InvalidJob(f"a middleware did not pass on {job!r}: it must call call_next, or raise to reject it")
    if len(made) != 1:
        save()


def _around(method: Callable[[Any, Any], Any], call_next: Any) -> Any:
    def call(job: Any) -> Any:
        return method(job, call_next)

    return call
