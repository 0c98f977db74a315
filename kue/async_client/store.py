"""The queue's side of asyncio jobs: the calls of client/job_store.py, run on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

from ..base_job import BaseJob
from ..client.job_store import JobStore
from ..client.result_wait import wait_for
from ..concurrency import bridge, green
from ..errors import KueError
from ..middleware import AsyncCreateNext, create_through
from ..storage.session import Session
from .connection.connector import AsyncConnector
from .event_stream import EventStream
from .job import AsyncJob
from .listener import AsyncListener
from .producer import AsyncProducer

P = ParamSpec("P")
R = TypeVar("R")


class AsyncSession(Session):
    """State shared by the components of an asyncio queue."""

    connector: AsyncConnector
    connector_class = AsyncConnector


class AsyncJobStore(JobStore[AsyncJob]):
    """Creates, updates and reads the jobs of one queue, on the event loop that first uses it."""

    listener: AsyncListener

    def __init__(
        self,
        queue: Any,
        session: AsyncSession,
        *,
        job_events: bool = True,
        searches: bool = False,
        shown: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__(queue, session, AsyncJob, job_events=job_events, searches=searches, shown=shown)
        self._loop: asyncio.AbstractEventLoop | None = None

    @classmethod
    def like(cls, other: JobStore[Any], queue: Any, session: AsyncSession) -> AsyncJobStore:
        """Return a store like ``other`` that shares its user settings: backoffs, middleware, test mode."""
        store = cls(queue, session, job_events=other.job_events, searches=other._searches, shown=other._shown)
        store.backoffs, store.middlewares, store.test_mode = other.backoffs, other.middlewares, other.test_mode
        return store

    def run(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call ``fn`` without blocking the event loop while it waits for Redis. Await the result immediately.

        Raises KueError on an event loop other than the one that first used this queue.
        """
        if asyncio.get_running_loop() is not self._loop:
            self._bind()
        return bridge.run(fn, *args, **kwargs)

    def _through(self, made: Sequence[AsyncJob], save: Callable[[], None]) -> None:
        if self.middlewares:
            create_through([_bridged(each.acreate) for each in self.middlewares], made, save)
        else:
            save()

    def let_others_run(self) -> None:
        bridge.sleep(0)

    def wait(self, job: BaseJob, timeout_s: float | None) -> Any:
        return wait_for(job, self.listener, timeout_s, _Wake())

    def listen_soon(self, job_id: int | str, event: str, fn: Callable[..., object]) -> None:
        self._bind()
        self.listener.on_job_soon(job_id, event, fn)

    async def begin_stream(self, stream: EventStream, required: bool) -> None:
        await self.run(self.listener.begin_stream, stream, required)

    def call_threadsafe(self, fn: Callable[..., object], *args: object) -> None:
        """Call ``fn`` on the event loop, from another thread. Does nothing if no loop is running."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(fn, *args)

    async def aclose(self) -> None:
        """Close all connections. The store can be used again, on any event loop."""
        if self._loop is not None:
            await self.run(self._close)
            self._loop = None

    def after_fork(self) -> None:
        """Called in a forked child: leave the parent's loop and connections alone."""
        # Garbage-collecting a connection would close its transport and so change the parent's selector.
        _of_parents.append((self._session.connector._shared, self.producer, self.listener))
        self._session.connector.after_fork()
        self.test_mode.after_fork()
        self._loop, self.producer, self.listener = None, self._new_producer(), self._new_listener()

    def _bind(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if green.enabled():
            raise KueError(
                "kue.aio cannot be used in a process patched by eventlet: use kue.create_queue there, or run what uses "
                "asyncio in a process of its own"
            )
        if self._loop is not None:
            raise KueError(
                "this queue is in use on another event loop: close it there with `await queue.close()`, or create a "
                "queue for each event loop"
            )
        self._loop = loop

    def _close(self) -> None:
        self.close()
        self._session.connector.close()
        self.listener = self._new_listener()

    def _new_producer(self) -> AsyncProducer:
        return AsyncProducer(self._session.connector, self._session.scripts)

    def _new_listener(self) -> AsyncListener:
        connector: Any = self._session.connector
        return AsyncListener(connector, self._session.keys.events, self._last_events)


#: The parent's objects in a forked process, kept from garbage collection.
_of_parents: list[object] = []


def _bridged(
    acreate: Callable[[Any, AsyncCreateNext], Awaitable[None]],
) -> Callable[[Any, Callable[[Any], None]], None]:
    """Return a middleware's ``acreate`` as a ``create`` function, for code under ``bridge.run``."""

    def create(job: Any, call_next: Callable[[Any], None]) -> None:
        async def acall_next(job: Any) -> None:
            await bridge.run(call_next, job)

        bridge.wait(acreate(job, acall_next))

    return create


class _Wake:
    """A ``threading.Event`` for one task, for code under ``bridge.run``."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.set, self.clear = self._event.set, self._event.clear

    def wait(self, timeout: float | None = None) -> bool:
        return bridge.wait(self._is_set(timeout))

    async def _is_set(self, timeout_s: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._event.wait()
        except TimeoutError:
            return False
