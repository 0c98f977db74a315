"""Runs code that calls and waits like any other function on an asyncio event loop, without blocking it.

``await run(fn)`` calls ``fn`` in a greenlet. Wherever ``fn`` calls ``wait(awaitable)``, at whatever depth, the greenlet
stands still and the caller's task awaits; other tasks go on meanwhile. So one implementation serves both worlds.

What runs so must not hold a lock over a ``wait``: another task of the same thread would block the loop for ever.
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

#: Idle greenlets of a thread that are kept: each new one maps memory of its own, which costs more than a short call.
IDLE_MAX = 200


class _Done:
    """What a carrier switches back with at the end of its function."""

    __slots__ = ("error", "value")

    def __init__(self, value: Any, error: BaseException | None) -> None:
        self.value, self.error = value, error


class _Carrier(greenlet):  # type: ignore[misc]
    """A greenlet that runs one function after another."""

    #: Whether the task that would await is gone, so that nothing can be waited for any more.
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
            except GreenletExit:  # its thread ends
                return
            finally:
                del done


class _Idle(threading.local):
    def __init__(self) -> None:
        self.carriers: list[_Carrier] = []


_idle = _Idle()


async def run(fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Return ``fn(*args)``, or raise what it raises; where it waits, this task awaits.

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
        except GeneratorExit:  # the loop is closed: what waits can only end
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
        del error, answer  # or its traceback would be a circle


def wait(awaitable: Awaitable[T]) -> T:
    """Return what an awaitable gives, or raise what it raises; only below ``run``."""
    carrier = getcurrent()
    if not isinstance(carrier, _Carrier) or carrier.deserted:
        if asyncio.iscoroutine(awaitable):
            awaitable.close()
        if isinstance(carrier, _Carrier):
            raise GreenletExit
        raise RuntimeError("this waits for an event loop: call it with bridge.run")
    return carrier.parent.switch(awaitable)  # type: ignore[no-any-return]


def sleep(seconds: float) -> None:
    """Sleep, below ``run`` without blocking the event loop."""
    if isinstance(getcurrent(), _Carrier):
        wait(asyncio.sleep(seconds))
    else:
        time.sleep(seconds)
