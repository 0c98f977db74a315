"""The process's event loop, in a dedicated OS thread: started for the first async handler, closed after the last."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from ...concurrency.essential import run_essential
from ..attempts.execution import Execution
from ..daemon_threads import DaemonThreads
from .loop_lag import TimedSelector, Watchdog

log = logging.getLogger("kue.worker")

#: Number of threads for ``asyncio.to_thread``: asyncio's own maximum.
THREADS_MAX = 32
#: Seconds that a stop gives cancelled handlers to clean up; then the same for the tasks they started, and for
#: asynchronous generators.
CLEANUP_S, CLOSE_S = 1.0, 0.3

#: The attempt that the current task, or the task that started it, works on.
current: ContextVar[Execution | None] = ContextVar("kue_execution", default=None)


class User(Protocol):
    """An executor that runs attempts on the loop."""

    #: Its attempts' tasks.
    tasks: dict[asyncio.Task[None], Execution]

    def abandoned(self) -> None:
        """The loop is blocked and does not run any more. Called in another thread."""


class EventLoop:
    """One asyncio event loop and its thread."""

    def __init__(self) -> None:
        self._selector = TimedSelector()
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self.loop.set_default_executor(DaemonThreads(THREADS_MAX))
        self.loop.set_task_factory(self._new_task)
        self.users: list[User] = []
        #: Tasks started by handlers.
        self._children: WeakKeyDictionary[asyncio.Task[Any], Execution] = WeakKeyDictionary()
        self.watchdog = Watchdog(self._selector, self.loop, self._has_tasks, self._execution_of, self._abandon)
        self._is_stopping = False
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=run_essential, args=("event loop", self._run), name="kue event loop", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def lag_s(self) -> float:
        """Return the longest time that a ready task has recently waited, seconds; from any thread."""
        return self._selector.lag_s()

    def call(self, fn: Callable[..., object], *args: Any) -> None:
        """Schedule ``fn(*args)`` on the loop; from any thread. Does nothing after the loop has ended."""
        try:
            self.loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            if not self.loop.is_closed():
                raise

    def wait_until(self, is_reached: Callable[[], bool], timeout_s: float) -> bool:
        """Wait in another thread until ``is_over()``. In the loop's own thread, this would wait forever."""
        give_up = time.monotonic() + timeout_s
        while not (reached := is_reached()) and not self.is_own_thread() and time.monotonic() < give_up:
            time.sleep(0.002)
        return reached

    def finish(self, make: Callable[[], Coroutine[Any, Any, object]], timeout_s: float) -> None:
        """Run a coroutine on the loop and wait for it, unless the loop is blocked."""
        if self.is_own_thread() or self.loop.is_closed():
            return
        ended = threading.Event()

        async def run() -> None:
            try:
                await make()
            except Exception as exc:
                log.warning("Cleaning up the event loop failed: %r", exc)
            finally:
                ended.set()

        def begin() -> None:
            self._finishing = self.loop.create_task(run())

        self.call(begin)
        ended.wait(timeout_s)

    def is_own_thread(self) -> bool:
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """Cancel running tasks, close the loop and end the thread; abandon what does not end in time."""
        self._is_stopping = True
        self.watchdog.stop()
        self.call(self.loop.stop)
        if not self.is_own_thread() and not self._ended.wait(3 * CLOSE_S):
            log.error("Abandoning an async handler that blocks the event loop")

    # In the loop's thread

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.watchdog.start(threading.get_ident())
        try:
            while not self._is_stopping:
                self._forever()
            self._close()
        finally:
            self._ended.set()

    def _forever(self) -> None:
        try:
            self.loop.run_forever()
        except (KeyboardInterrupt, SystemExit, asyncio.CancelledError):
            # asyncio lets the first two escape from tasks; the third was raised in a handler that had just awaited.
            log.exception("A task of an async handler raised an exception; the event loop continues")

    def _close(self) -> None:
        """Close the loop like asyncio.run, but with a time limit."""
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._finish(asyncio.wait(tasks, timeout=CLOSE_S))
        self._finish(asyncio.wait_for(self.loop.shutdown_asyncgens(), CLOSE_S))
        left = [task for task in tasks if not task.done()]
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        if left:
            log.warning("%d tasks of async handlers did not end after they were cancelled", len(left))
            _left_behind.extend((self.loop, *left))  # garbage-collecting them would run the rest of their code
        self.loop.close()

    def _finish(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            self.loop.run_until_complete(work)
        except (Exception, asyncio.CancelledError, KeyboardInterrupt, SystemExit) as exc:
            log.warning("Closing the event loop failed: %r", exc)

    def _new_task(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **options)
        execution = current.get()
        if execution is not None:
            self._children[task] = execution
        return task

    # In the watchdog's thread

    def _has_tasks(self) -> bool:
        return any(user.tasks for user in self.users)

    def _execution_of(self, task: asyncio.Task[Any]) -> Execution | None:
        """Return the attempt that a task works on."""
        found = (user.tasks[task] for user in self.users if task in user.tasks)
        return next(found, None) or self._children.get(task)

    def _abandon(self, execution: Execution) -> None:
        """Leave the blocked loop alone, and let its users continue on a new one. When it continues, it closes."""
        log.error(
            "Job %s (%s) blocks the event loop and cannot be stopped: the other async attempts of this process are"
            " released and run again on a new event loop",
            execution.job.id, execution.type,
        )  # fmt: skip
        with _lock:
            _forget(self)
            users = self.users
        self._is_stopping = True
        self.watchdog.stop()
        self.call(self.loop.stop)
        for user in users:
            user.abandoned()


_lock = threading.Lock()
_shared: EventLoop | None = None
#: Objects kept from garbage collection: tasks that never end, and in a forked child the parent's loop, whose cleanup
#: would affect the parent.
_left_behind: list[Any] = []


def acquire(user: User) -> EventLoop:
    """Return this process's loop for an executor, which later calls ``release``. Raises if no thread can be started."""
    global _shared
    with _lock:
        if _shared is None:
            made = EventLoop()
            try:
                made.start()
            except BaseException:
                made.loop.close()
                raise
            _shared = made
        _shared.users = [*_shared.users, user]
        return _shared


def release(event_loop: EventLoop, user: User) -> None:
    """Stop the loop if no other executor uses it."""
    with _lock:
        event_loop.users = [each for each in event_loop.users if each is not user]
        if event_loop.users:
            return
        _forget(event_loop)
    event_loop.stop()


def _forget(event_loop: EventLoop) -> None:
    """Let the next executor get another loop. Called under the lock."""
    global _shared
    if _shared is event_loop:
        _shared = None


def lag_ms() -> int | None:
    """Return the event loop lag of this process, ms; None without an event loop."""
    shared = _shared
    return None if shared is None else round(shared.lag_s() * 1000)


def _after_fork() -> None:
    """Called in a forked child, where the loop's thread does not exist."""
    global _lock, _shared
    if _shared is not None:
        _left_behind.append(_shared)
    _lock, _shared = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
