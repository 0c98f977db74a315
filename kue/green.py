"""Threads, or eventlet's green threads when the process is patched: the library's one import of eventlet.

Patched or not, the rest of the library uses ``threading``, ``time`` and sockets as they are; here is only what differs.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def enabled() -> bool:
    """Tell whether eventlet has patched this process's threads."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def original(module: str) -> Any:
    """Return the unpatched form of a standard module, for real threads, sockets and processes."""
    if not enabled():
        return __import__(module)
    from eventlet import patcher

    return patcher.original(module)


def sleep(seconds: float = 0) -> None:
    """Sleep ``seconds``; 0 lets the other (green) threads run."""
    time.sleep(seconds)


class Task:
    """A function that runs in a (green) thread of its own."""

    def __init__(self) -> None:
        self._greenlet: Any = None
        self._ended = False

    def run(self, fn: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            fn(*args)
        finally:
            self._ended = True

    def interrupt(self, exc: BaseException) -> bool:
        """Raise ``exc`` inside a green thread at the point where it waits; return False where that is not possible.

        A plain thread cannot be interrupted from outside: its code has to ask.
        """
        if self._greenlet is None or self._ended:
            return False
        import eventlet
        from eventlet import hubs

        if self._greenlet is eventlet.getcurrent():
            raise exc
        hubs.get_hub().schedule_call_global(0, self._throw, exc)
        return True

    def _throw(self, exc: BaseException) -> None:
        if not self._ended:
            self._greenlet.throw(exc)


def spawn(fn: Callable[..., object], *args: object) -> Task:
    """Run ``fn(*args)`` in a (green) thread of its own."""
    task = Task()
    if enabled():
        import eventlet

        task._greenlet = eventlet.spawn(task.run, fn, args)
    else:
        _pool.submit(task.run, fn, args)
    return task


class _ThreadPool:
    """Daemon threads that are used again: starting one costs more than a short job does."""

    #: Seconds after which a thread without work ends.
    IDLE_S = 10.0

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def submit(self, fn: Callable[..., object], *args: object) -> None:
        with self._lock:
            start = self._idle == 0
            if not start:
                self._idle -= 1
        self._work.put((fn, args))
        if start:
            threading.Thread(target=self._loop, name="kue", daemon=True).start()

    def _loop(self) -> None:
        while True:
            try:
                fn, args = self._work.get(timeout=self.IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                continue  # work was promised to this thread in the meantime
            try:
                fn(*args)
            except BaseException:  # as threading does, but the thread lives on
                sys.excepthook(*sys.exc_info())
            with self._lock:
                self._idle += 1


_pool = _ThreadPool()


def real_thread(fn: Callable[..., object], *args: object) -> None:
    """Run ``fn(*args)`` in a true thread of the operating system, also where threads are patched.

    Sockets that it opens have a hub of their own there, which the main hub's handlers cannot block.
    """
    threads = original("threading")
    threads.Thread(target=fn, args=args, daemon=True).start()


def real_sleep(seconds: float) -> None:
    """Sleep without a hub, for true threads."""
    original("time").sleep(seconds)


def real_event() -> Any:
    """Return an event that true threads can wait for."""
    return original("threading").Event()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket with TCP_NODELAY, which the accepted ones inherit: small frames leave at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if enabled():
        import eventlet

        sock: socket.socket = eventlet.listen((host, port), family=family, reuse_addr=True, reuse_port=False)
    else:
        sock = socket.create_server((host, port), family=family)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def serve_wsgi(sock: socket.socket, app: Any) -> None:
    """Serve a WSGI application on a socket of ``listen`` until it is closed, without an access log."""
    from eventlet import wsgi

    wsgi.server(sock, app, log_output=False, socket_timeout=60)
