"""Call a handler that is not an async function, inside its queue's middleware."""

from __future__ import annotations

import threading
from types import CoroutineType
from typing import Any

from ...concurrency import green
from ...job import Job
from ...middleware import compose
from .execution import Context
from .handler import Handler
from .outcomes import DoneError

#: Intervals of checking whether a handler that uses ``done`` was stopped, or (with green threads) has called it,
#: seconds.
POLL_S, GREEN_POLL_S = 1.0, 0.05


def call(handler: Handler, job: Job, context: Context) -> Any:
    """Call a handler inside the middleware; return its result, or raise what it raised."""
    if job._owner.middlewares:
        return compose(lambda job: _call_handler(handler, job, context), job._owner.middlewares)(job)
    return _call_handler(handler, job, context)


def _call_handler(handler: Handler, job: Job, context: Context) -> Any:
    """Call the handler; return its result, or raise what it raised or gave to ``done``."""
    if handler.arity == 1:
        return _not_coroutine(handler.fn(job))
    ended = threading.Event()
    reports: list[tuple[Any, Any]] = []

    def done(error: Any = None, result: Any = None) -> None:
        reports.append((error, result))
        ended.set()

    if handler.arity == 2:
        handler.fn(job, done)
    else:
        handler.fn(job, context, done)
    # An OS thread that calls done cannot wake a green one.
    poll_s = GREEN_POLL_S if green.enabled() else POLL_S
    while not ended.wait(poll_s):
        job._raise_if_interrupted()
    error, result = reports[0]  # the first call counts
    if not error:  # as in JavaScript, "" and 0 are not errors
        return result
    raise error if isinstance(error, BaseException) else DoneError(error)


def _not_coroutine(result: Any) -> Any:
    """Return a handler's result. Raises TypeError for a coroutine, which would never be awaited."""
    if isinstance(result, CoroutineType):
        result.close()
        raise TypeError(
            "the handler returned a coroutine, but is not an async function: register the async function itself, or "
            "make its wrapper async"
        )
    return result
