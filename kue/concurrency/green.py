"""Threads, or eventlet's green threads if the process is patched: the library's only import of eventlet.

The rest of the library uses ``threading``, ``time`` and sockets, patched or not; only what differs is here.
"""

from __future__ import annotations

import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .short_calls import ShortCalls, Watch
from .thread_pool import ThreadPool

#: Listen backlog; clients beyond it retry after one to three seconds.
BACKLOG = 512


def enabled() -> bool:
    """Return whether eventlet has patched this process's threads."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def original(module: str) -> Any:
    """Return the unpatched form of a standard module, for OS threads, sockets and processes."""
    if not enabled():
        return __import__(module)
    from eventlet import patcher

    return patcher.original(module)


def sleep(seconds: float = 0) -> None:
    """Sleep ``seconds``; 0 lets the other (green) threads run."""
    time.sleep(seconds)


class Task:
    """A function that runs in a (green) thread."""

    __slots__ = ("_call_off", "_ended", "_greenlet")

    def __init__(self) -> None:
        self._greenlet: Any = None
        self._ended = self._call_off = False

    def run(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            if not self._call_off:
                fn(*args)
        finally:
            self._ended = True

    def interrupt(self, exc: BaseException) -> bool:
        """Raise ``exc`` in a green thread where it waits. Return False if that is not possible.

        A task that has not started never starts. An OS thread cannot be interrupted: its code has to check.
        """
        if self._ended or not enabled():
            return False
        if self._greenlet is None:
            self._call_off = True
            return True
        from eventlet import getcurrent, hubs

        if self._greenlet is getcurrent():
            raise exc
        hubs.get_hub().schedule_call_global(0, self._throw, exc)
        return True

    def _throw(self, exc: BaseException) -> None:
        if not self._ended:  # its greenlet may be running another task now
            self._greenlet.throw(exc)


def spawn(fn: Callable[..., object], *args: object) -> Task:
    """Run ``fn(*args)`` in a (green) thread of a pool."""
    task = Task()
    if enabled():
        _green_pool().submit(task, fn, args)
    else:
        _pool.submit(task.run, fn, args)
    return task


def spawn_short(fn: Callable[..., object], *args: object) -> Task:
    """Like ``spawn``, for a function that is expected to end within microseconds.

    OS threads: inside ``short_calls`` such a function runs in this thread, since waking another one takes longer.
    """
    if enabled():
        return spawn(fn, *args)
    task = Task()
    if not _watch.spawn(task.run, fn, args):
        _pool.submit(task.run, fn, args)
    return task


def short_calls(take_over: Callable[[], object]) -> ShortCalls:
    """Return the context in which ``spawn_short`` collects functions for this thread; ``run`` them after it.

    If one turns out to be long, another thread calls ``take_over``.
    """
    return ShortCalls(_watch, take_over)


def after_short(fn: Callable[[], object]) -> None:
    """Call ``fn`` now or, among short functions, once after them."""
    _watch.after(fn)


def is_kill(exc: BaseException) -> bool:
    """Return whether an exception kills a green thread from outside, as when its hub ends."""
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and isinstance(exc, greenlet.GreenletExit)


class _GreenPool:
    """A pool of one hub's green threads.

    Since Python 3.11 each new one maps memory, which costs more than a short job. Tasks spawned at the same time share
    one timer.
    """

    #: Maximum number of idle green threads kept.
    IDLE_MAX = 200

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._ready: deque[tuple[Task, Callable[..., object], tuple[object, ...]]] = deque()
        self._idle: list[Any] = []
        self._scheduled = False

    def submit(self, task: Task, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        self._ready.append((task, fn, args))
        if not self._scheduled:
            self._scheduled = True
            self._hub.schedule_call_global(0, self._start)

    def _start(self) -> None:
        """Called by the hub: run the ready tasks, each until it first waits."""
        from greenlet import greenlet  # type: ignore[import-untyped]

        self._scheduled = False
        for _ in range(len(self._ready)):
            work = self._ready.popleft()
            thread = self._idle.pop() if self._idle else greenlet(self._loop, self._hub.greenlet)
            work[0]._greenlet = thread
            thread.switch(*work)

    def _loop(self, task: Task, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        from greenlet import GreenletExit, getcurrent

        while True:
            try:
                task.run(fn, args)
            except GreenletExit:
                return
            except BaseException:  # as threading does, but the green thread lives on
                sys.excepthook(*sys.exc_info())
            if len(self._idle) >= self.IDLE_MAX:
                return
            self._idle.append(getcurrent())
            del task, fn, args  # while it waits, it keeps nothing alive
            task, fn, args = self._hub.switch()


def _green_pool() -> _GreenPool:
    """Return the pool of the current OS thread's hub."""
    from eventlet import hubs

    hub = hubs.get_hub()
    pool: _GreenPool | None = getattr(hub, "_kue_pool", None)
    if pool is None:
        pool = hub._kue_pool = _GreenPool(hub)
    return pool


_pool = ThreadPool()
_watch = Watch(_pool.submit)


def after_fork() -> None:
    """Called in a forked child: the pool's idle threads exist only in the parent."""
    global _pool, _watch
    _pool = ThreadPool()
    _watch = Watch(_pool.submit)


def real_thread(fn: Callable[..., object], *args: object) -> None:
    """Run ``fn(*args)`` in an OS thread, even if threads are patched.

    Sockets opened there use a separate hub, which the main hub's handlers cannot block.
    """
    threads = original("threading")
    threads.Thread(target=fn, args=args, daemon=True).start()


def real_sleep(seconds: float) -> None:
    """Sleep without a hub, for OS threads."""
    original("time").sleep(seconds)


def others() -> tuple[int, ...] | None:
    """Return the descriptor that becomes readable when another green thread can run; () if threads are not green.

    None: one can run already, or it is unknown.
    """
    if not enabled():
        return ()
    from eventlet import hubs

    hub = hubs.get_hub()
    due = hub.sleep_until()
    if hub.next_timers or (due is not None and due <= hub.clock()):
        return None
    poll: Any = getattr(hub, "poll", None)
    return (poll.fileno(),) if hasattr(poll, "fileno") else None


def real_event() -> Any:
    """Return an event for OS threads."""
    return original("threading").Event()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket with TCP_NODELAY, which accepted sockets inherit: small frames are sent immediately."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if enabled():
        import eventlet

        sock: socket.socket = eventlet.listen(
            (host, port), family=family, backlog=BACKLOG, reuse_addr=True, reuse_port=False
        )
    else:
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
