"""What a handler may look like, and what runs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from ..errors import InvalidJob


class Kind(Enum):
    """What runs the attempts of a handler."""

    THREAD = "thread"  #: a thread of the engine's kind: green if threads are green


class Handler(NamedTuple):
    """A registered handler, and how many positional arguments it takes."""

    fn: Callable[..., Any]
    arity: int
    kind: Kind


def read_handler(fn: Callable[..., Any]) -> Handler:
    """Return a function as a handler. Raises InvalidJob for one that cannot be called with a job."""
    return Handler(fn, _arity(fn), Kind.THREAD)


def _arity(handler: Callable[..., object]) -> int:
    """Return how many positional arguments a handler takes: 1 (job), 2 (job, done) or 3 (job, ctx, done)."""
    if not callable(handler):
        raise InvalidJob(f"a handler is a function (job), (job, done) or (job, ctx, done), not {handler!r}")
    if inspect.iscoroutinefunction(handler):
        raise InvalidJob(
            f"a handler cannot be an async function yet; wrap it: lambda job: asyncio.run({handler.__name__}(job))"
        )
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return 1
    wanted = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    if not 1 <= len(wanted) <= 3 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise InvalidJob(f"a handler takes (job), (job, done) or (job, ctx, done); {handler!r} takes {len(wanted)}")
    return max(1, len(wanted))
