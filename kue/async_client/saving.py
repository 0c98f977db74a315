"""``client/saving.py`` on an event loop, also from asynchronous iterables."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from typing import Any

from ..client.saving import Saving
from ..concurrency import bridge
from .job import AsyncJob


class AsyncSaving(Saving[AsyncJob]):
    """Saves new jobs of one queue, under ``bridge.run``."""

    _iterables = (Iterable, AsyncIterable)

    def _apart(self, fn: Callable[[], object]) -> Callable[[], None]:
        task = asyncio.get_running_loop().create_task(bridge.run(fn))
        return lambda: bridge.wait(_ended(task))

    def _prepared(self, wanted: Any) -> Iterator[AsyncJob]:
        return super()._prepared(_from_async(wanted) if isinstance(wanted, AsyncIterable) else wanted)


def _from_async(wanted: AsyncIterable[Any]) -> Iterator[Any]:
    """Yield what an asynchronous iterable yields. Only under ``bridge.run``."""
    iterator, end = aiter(wanted), object()
    while (each := bridge.wait(anext(iterator, end))) is not end:
        yield each


async def _ended(task: asyncio.Task[Any]) -> None:
    """Wait for a task. If this is cancelled, the task goes on to its end first: what it saves must be known."""
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        raise
