"""Tests on an event loop, and waiting there."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
#: Seconds after which a test that hangs fails.
LIMIT_S = 60.0


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine as ``asyncio.run`` does, in a thread of its own: Playwright holds an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, main).result()


def on_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test, given as a coroutine function, on an event loop of its own."""

    @functools.wraps(test)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        async def limited() -> None:
            async with asyncio.timeout(LIMIT_S):
                await test(*args, **kwargs)

        run(limited())

    return call


async def until(predicate: Callable[[], object], timeout_s: float = 20.0, message: str = "") -> None:
    """Wait on the loop until the predicate is true; fail with ``message`` if it is not within ``timeout_s``."""
    give_up = asyncio.get_running_loop().time() + timeout_s
    while not predicate():
        if asyncio.get_running_loop().time() >= give_up:
            raise AssertionError(f"not within {timeout_s} s: {message or predicate}")
        await asyncio.sleep(0.005)
