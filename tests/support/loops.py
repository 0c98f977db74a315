"""Tests on an event loop, and waiting there."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")
#: Seconds after which a test that hangs fails.
LIMIT_S = 60.0


def on_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test, given as a coroutine function, on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def limited() -> None:
            async with asyncio.timeout(LIMIT_S):
                await test(*args, **kwargs)

        asyncio.run(limited())

    return run


async def until(predicate: Callable[[], object], timeout_s: float = 20.0, message: str = "") -> None:
    """Wait on the loop until the predicate is true; fail with ``message`` if it is not within ``timeout_s``."""
    give_up = asyncio.get_running_loop().time() + timeout_s
    while not predicate():
        if asyncio.get_running_loop().time() >= give_up:
            raise AssertionError(f"not within {timeout_s} s: {message or predicate}")
        await asyncio.sleep(0.005)
