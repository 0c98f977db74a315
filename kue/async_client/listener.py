"""Event handlers on an asyncio event loop. They run in one task, one after another."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from ..client.events import RESYNC, Event, Listener
from ..client.handler_thread import BACKLOG_MAX, HasArgs, Registration
from ..concurrency import bridge
from ..connection.subscription import UNREQUIRED_S
from .connection.connector import AsyncConnector
from .connection.subscription import AsyncSubscription
from .event_stream import EventStream

log = logging.getLogger("kue.events")

#: Handler calls after which other tasks get a turn, if no handler awaited.
TURN = 50


class AsyncListener(Listener):
    """The subscription of one asyncio queue. Handlers are functions or coroutine functions."""

    _subscription: AsyncSubscription  # type: ignore[assignment]
    _handlers: HandlerTask

    def __init__(
        self, connector: AsyncConnector, channel: str, ended: Callable[[list[int | str]], list[Event]]
    ) -> None:
        super().__init__(connector, channel, ended)
        self._tasks: set[asyncio.Task[object]] = set()
        self._streams: WeakSet[EventStream] = WeakSet()

    def on_job_soon(self, job_id: int | str, event: str, fn: Callable[..., object]) -> None:
        """Call ``fn(*args)`` for each ``event`` of one job, up to its last. Subscribes in the background."""
        with self._lock:
            self._by_job.setdefault(job_id, []).append(Registration(event, fn))
        self._spawn(self._begin)

    def begin_stream(self, stream: EventStream, required: bool) -> None:
        """Deliver every event of the queue to a stream while it is referenced."""
        if required:
            self.start()
        else:
            self._subscription.start(UNREQUIRED_S, required=False)
        self._streams.add(stream)

    def call_soon(self, registration: Registration, *args: object) -> None:
        """Schedule a handler call after those for earlier events."""
        self._handlers.put(registration, *args)

    def stop(self) -> None:
        super().stop()
        self._handlers.stop()
        for stream in self._streams:
            stream.end()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    def _begin(self) -> None:
        self._subscription.start(UNREQUIRED_S, required=False)
        with self._lock:
            self._sweep_if_many()

    def _dispatch_event(self, event: Event) -> None:
        for stream in self._streams:
            stream.put(event)
        super()._dispatch_event(event)

    def _resync(self) -> None:
        for stream in self._streams:
            stream.put(RESYNC)
        super()._resync()

    def _new_subscription(self, connector: Any, channel: str) -> Any:
        return AsyncSubscription(connector, channel, self.dispatch, self._resync)

    def _new_handlers(self) -> HandlerTask:
        return HandlerTask(self._resync)

    def _spawn(self, fn: Callable[..., object], *args: object) -> None:
        task = asyncio.get_running_loop().create_task(bridge.run(fn, *args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class HandlerTask:
    """A task that runs while calls are pending. After an overflow it catches up, then calls ``after_overflow``."""

    def __init__(self, after_overflow: Callable[[], object]) -> None:
        self._after_overflow = after_overflow
        self._calls: deque[tuple[Registration, tuple[object, ...], HasArgs | None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._overflowed = False

    def overflows(self) -> bool:
        """Return whether events are being dropped."""
        if not self._overflowed and len(self._calls) >= BACKLOG_MAX:
            self._overflowed = True
            log.warning("Event handlers are too slow: %d calls are waiting; dropping events", BACKLOG_MAX)
        return self._overflowed

    def put(self, registration: Registration, *args: object, args_of: HasArgs | None = None) -> None:
        """Queue a call of the handler with ``args`` and the arguments of the event ``args_of``."""
        self._calls.append((registration, args, args_of))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """Stop calling handlers, and cancel the running one unless it is the caller."""
        self._calls.clear()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self) -> None:
        made = 0
        try:
            while self._calls or self._overflowed:
                if not self._calls:
                    self._overflowed = False
                    self._after_overflow()
                    continue
                registration, args, args_of = self._calls.popleft()
                if registration.active:
                    await self._call(registration.fn, *args, *(args_of.args if args_of is not None else ()))
                made += 1
                if made % TURN == 0:
                    await asyncio.sleep(0)
        finally:
            self._task = None

    async def _call(self, fn: Callable[..., object], *args: object) -> None:
        try:
            result = fn(*args)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.exception("A job event handler was cancelled")
        except Exception:
            log.exception("A job event handler failed")
