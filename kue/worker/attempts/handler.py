"""A registered handler: which functions are accepted, and which executor runs them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from ...concurrency import green
from ...errors import InvalidJob, KueError

if TYPE_CHECKING:
    from ..isolation.options import Isolation
    from ..isolation.target import Target


class Kind(Enum):
    """How a handler's attempts are run."""

    THREAD = "thread"  #: a thread of the engine's kind: green if threads are green
    ASYNCIO = "asyncio"  #: a task of the process's event loop
    PROCESS = "process"  #: a child process, which runs nothing else at the same time


class Handler(NamedTuple):
    """A registered handler, and how many positional arguments it takes.

    ``target``: where a child process finds it, None if none can; ``isolation`` is for Kind.PROCESS.
    """

    fn: Callable[..., Any]
    arity: int
    kind: Kind
    target: Target | None = None
    isolation: Isolation | None = None


def read_handler(
    fn: Callable[..., Any], target: Target | None = None, isolation: Isolation | None = None
) -> Handler:
    """Return the Handler of a function. Raises InvalidJob if it cannot be called with a job."""
    if not callable(fn):
        raise InvalidJob(f"a handler must be a function (job), (job, done) or (job, ctx, done), not {fn!r}")
    if inspect.isasyncgenfunction(fn):
        raise InvalidJob(f"a handler returns its result; {fn!r} has a yield, which makes it an asynchronous generator")
    arity = _arity(fn)
    if not is_async(fn):
        return Handler(fn, arity, Kind.THREAD if isolation is None else Kind.PROCESS, target, isolation)
    if arity != 1:
        raise InvalidJob(f"an async handler takes (job) and returns its result or raises; {fn!r} takes {arity}")
    if isolation is not None:
        return Handler(fn, arity, Kind.PROCESS, target, isolation)
    if green.enabled():
        raise KueError(
            "an async handler cannot run in a process patched by eventlet: run it in a separate process "
            "with `kue worker module:queue`, without --green"
        )
    return Handler(fn, arity, Kind.ASYNCIO, target)


def is_async(fn: Callable[..., Any]) -> bool:
    """Return whether a call returns a coroutine: an ``async def``, a partial of one, or an object whose call is one."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _arity(handler: Callable[..., object]) -> int:
    """Return how many positional arguments a handler takes: 1 (job), 2 (job, done) or 3 (job, ctx, done)."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return 1
    wanted = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    if not 1 <= len(wanted) <= 3 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise InvalidJob(f"a handler takes (job), (job, done) or (job, ctx, done); {handler!r} takes {len(wanted)}")
    return max(1, len(wanted))
