"""The history of a queue, for asyncio programs."""

from __future__ import annotations

from ..management.history import History, Span
from .store import AsyncJobStore


class AsyncHistory:
    """The recorded spans of one queue; see ``kue.Queue.history``."""

    def __init__(self, store: AsyncJobStore, history: History) -> None:
        self._store, self._history = store, history

    async def record(self, name: str, at: int, figures: Span) -> None:
        """Store the ``figures`` of span number ``at`` since the epoch; ``name`` is "minutes" or "halves"."""
        await self._store.run(self._history.record, name, at, figures)

    async def read(self, name: str) -> list[Span]:
        """Return the recorded spans, oldest first. There are none for times without a web process."""
        return await self._store.run(self._history.read, name)
