"""Middleware: code around the creation and the execution of every job of a queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from .errors import InvalidJob
from .job import Job

#: Hands a new job on: to the next middleware, and at last to Redis.
CreateNext = Callable[[Job], None]
#: Hands a running job on: to the next middleware, and at last to its handler, whose result it returns.
ExecuteNext = Callable[[Job], Any]
AsyncCreateNext = Callable[[Any], Awaitable[None]]
AsyncExecuteNext = Callable[[Any], Awaitable[Any]]

METHODS = ("create", "execute", "acreate", "aexecute")


class Middleware(Protocol):
    """What ``queue.use`` takes. Inherit from it, and write the methods you need: those here only hand the job on.

    A method does something, calls ``call_next(job)``, and does something else. An exception is that of the next: it may
    be looked at, replaced, or raised instead of a call.
    """

    def create(self, job: Job, call_next: CreateNext) -> None:
        """Called with each new job before it is saved: its data and options may be changed. Raise to refuse it.

        After ``call_next`` the job has its id; among several saved by ``create_many`` it has not yet, since all are
        saved together once each was handed on. Not called for the jobs of a schedule: Redis creates them.
        """
        call_next(job)

    def execute(self, job: Job, call_next: ExecuteNext) -> Any:
        """Called in a worker for each attempt, in place of its handler; what it returns is the job's result.

        What it raises fails the attempt, which is retried as if the handler had raised it.
        """
        return call_next(job)

    async def acreate(self, job: Any, call_next: AsyncCreateNext) -> None:
        """Called in place of ``create`` for a job of ``kue.aio``."""
        await call_next(job)

    async def aexecute(self, job: Any, call_next: AsyncExecuteNext) -> Any:
        """Called in place of ``execute`` for an ``async def`` handler."""
        return await call_next(job)


def check_middleware(middleware: object) -> None:
    """Require an object that has the methods. Raises InvalidJob."""
    missing = [name for name in METHODS if not callable(getattr(middleware, name, None))]
    if missing or isinstance(middleware, type):
        wrong = "a class" if isinstance(middleware, type) else f"{middleware!r}, which has no {missing[0]}"
        raise InvalidJob(f"queue.use takes an object of a class that inherits from kue.Middleware, not {wrong}")


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
    """Hand new jobs through the ``create`` of each middleware, the first outermost, to ``save``, which saves all.

    One job is saved inside them; several after each has been handed on, in as few calls as there can be.
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
            raise InvalidJob(f"a middleware did not pass on {job!r}: it must call call_next, or raise to refuse it")
    if len(made) != 1:
        save()


def _around(method: Callable[[Any, Any], Any], call_next: Any) -> Any:
    def call(job: Any) -> Any:
        return method(job, call_next)

    return call
