"""Run synchronous code on an asyncio event loop without blocking it.

``await run(fn)`` calls ``fn`` in a greenlet. Wherever ``fn`` calls ``wait(awaitable)``, at any depth, the greenlet is
suspended and the caller's task awaits, while other tasks run. So the sync and asyncio APIs share one implementation.

Such code must not hold a lock during a ``wait``: another task of the same thread would block the loop forever.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: Maximum number of idle greenlets kept per thread: a new one maps memory, which costs more than a short call.
IDLE_MAX = 200


class _Done:
    """What a carrier returns at the end of its function."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any, error: BaseException | None) -> None:
        self.value, self.error = value, error


class _Carrier(greenlet):  # type: ignore[misc]
    """A greenlet that runs one function after another."""

    #: Whether the awaiting task has ended, so that ``wait`` is no longer possible.
    deserted = False

    def run(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        while True:
            try:
                done = _Done(fn(*args, **kwargs), None)
            except BaseException as exc:
                done = _Done(None, exc)
            del fn, args, kwargs
            try:
                fn, args, kwargs = self.parent.switch(done)
            except GreenletExit:  # its thread is ending
                return
            finally:
                del done


class _Idle(threading.local):
    def __init__(self) -> None:
        self.carriers: list[_Carrier] = []


_idle = _Idle()


async def run(fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Return ``fn(*args)``, or raise what it raises. Where it waits, this task awaits.

    A cancellation of this task is raised in ``fn`` at the place where it waits.
    """
    loop_side = getcurrent()
    carriers = _idle.carriers
    carrier = carriers.pop() if carriers else _Carrier()
    carrier.parent = loop_side
    carrier.gr_context = loop_side.gr_context
    answer = carrier.switch(fn, args, kwargs)
    while type(answer) is not _Done:
        try:
            value = await answer
        except GeneratorExit:  # the loop is closed: waiting code can only end
            carrier.deserted = True
            carrier.throw(GeneratorExit())
            raise
        except BaseException as exc:
            answer = carrier.throw(exc)
        else:
            answer = carrier.switch(value)
    if len(carriers) < IDLE_MAX:
        carriers.append(carrier)
    error, result = answer.error, answer.value
    if error is None:
        return result  # type: ignore[no-any-return]
    try:
        raise error
    finally:
        del error, answer  # or its traceback would be a reference cycle


def wait(awaitable: Awaitable[T]) -> T:
    """Return an awaitable's result, or raise what it raises. Only under ``run``."""
    carrier = getcurrent()
    if not isinstance(carrier, _Carrier) or carrier.deserted:
        if asyncio.iscoroutine(awaitable):
            awaitable.close()
        if isinstance(carrier, _Carrier):
            raise GreenletExit
        raise RuntimeError("bridge.wait was called outside bridge.run")
    return carrier.parent.switch(awaitable)  # type: ignore[no-any-return]


def sleep(seconds: float) -> None:
    """Sleep; under ``run`` without blocking the event loop."""
    if isinstance(getcurrent(), _Carrier):
        wait(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)
