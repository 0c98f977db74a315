"""The events of a queue as an asynchronous iterator."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

from ..client.events import RESYNC, Event
from ..client.handler_thread import BACKLOG_MAX


class StreamOwner(Protocol):
    async def begin_stream(self, stream: EventStream, required: bool) -> None: ...


class EventStream:
    """Events in order, starting with the first iteration or on entering ``async with``.

    If the reader falls behind, events are dropped and it gets one "resync" instead.
    """

    def __init__(self, owner: StreamOwner, required: bool) -> None:
        self._owner, self._required = owner, required
        self._events: deque[Event] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._begun = self._ended = False

    async def __aenter__(self) -> EventStream:
        await self._begin()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.end()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        await self._begin()
        while not self._events:
            if self._ended:
                raise StopAsyncIteration
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return self._events.popleft()

    def put(self, event: Event) -> None:
        """Called by the listener."""
        if self._ended:
            return
        if len(self._events) >= BACKLOG_MAX:
            self._events.clear()
            event = RESYNC
        self._events.append(event)
        self._wake_up()

    def end(self) -> None:
        """End the iteration after the events already received."""
        self._ended = True
        self._wake_up()

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._owner.begin_stream(self, self._required)

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
