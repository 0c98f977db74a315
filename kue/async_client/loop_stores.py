"""Stores that save a ``kue.Queue``'s jobs on event loops: one per loop, closed with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from .store import AsyncJobStore


class LoopStores:
    """The stores of one queue, by event loop. ``new`` creates one."""

    def __init__(self, new: Callable[[], AsyncJobStore]) -> None:
        self._new = new
        self._stores: dict[asyncio.AbstractEventLoop, tuple[AsyncJobStore, AsyncGenerator[None]]] = {}

    async def get(self) -> AsyncJobStore:
        """Return the store of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._stores:
            self._stores = {each: held for each, held in self._stores.items() if not each.is_closed()}
            store = self._new()
            # asyncio.run and server frameworks shut down asynchronous generators before they close the loop.
            closer = _closed_at_the_end(store)
            self._stores[loop] = store, closer
            await anext(closer)
        return self._stores[loop][0]


async def _closed_at_the_end(store: AsyncJobStore) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await store.aclose()
