"""The thread that supervises all child processes of an engine.

It is an OS thread even where threads are green, so handlers that block the hub delay no kill. All work on children
happens in it; other threads ``post`` calls to it without blocking.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from ....concurrency import green
from ....concurrency.essential import run_essential
from .child_handle import ChildHandle, State
from .pool import GRACE_S, Pool

log = logging.getLogger("kue.worker")

#: Maximum number of children that import their handlers at the same time, for all types.
STARTING_MAX = max(2, os.cpu_count() or 1)
#: Interval of checking for ended children where the system does not report them, and while stderr is blocked, seconds.
LOOK_S = 0.1
PASS_S = 0.02


class Supervision:
    """Runs from ``start`` until the last child has ended after ``stop``."""

    def __init__(self) -> None:
        self._os = green.original("os")
        self._select = green.original("select")
        self._poll = self._select.poll()
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._wake_read, self._wake_write = self._os.pipe()
        for fd in (self._wake_read, self._wake_write):
            self._os.set_blocking(fd, False)
        self._poll.register(self._wake_read, self._select.POLLIN)
        self._is_stopping = self.has_ended = False
        self.pools: list[Pool] = []
        self._children: dict[ChildHandle, Pool] = {}
        #: By descriptor: the child, and the function to call when it is readable.
        self._by_fd: dict[int, tuple[ChildHandle, Callable[[ChildHandle], object]]] = {}

    def start(self) -> None:
        green.real_thread(run_essential, "child processes", self._run)

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Call ``fn(*args)`` in the supervising thread."""
        self._calls.append((fn, args))
        with contextlib.suppress(OSError):  # the pipe is full, so the thread wakes up anyway; or it has ended
            self._os.write(self._wake_write, b"\0")

    def stop(self, kill_at: float) -> None:
        """End all children, at ``kill_at`` at the latest, and then the thread. Call via ``post``."""
        self._is_stopping = True
        for pool in self.pools:
            pool.stop(kill_at)

    def adopt(self, child: ChildHandle, pool: Pool) -> None:
        """Watch a new child. Supervising thread only."""
        self._children[child] = pool
        for fd, fn in ((child.sock.fileno(), self._receive), (child.stderr_fd, self._read_stderr), (child.pidfd, None)):
            if fd >= 0:
                self._by_fd[fd] = (child, fn or (lambda child: None))
                self._poll.register(fd, self._select.POLLIN)

    def _run(self) -> None:
        try:
            while self._children or not self._is_stopping:
                try:
                    self._step()
                except Exception:
                    log.exception("Supervision of child processes: unexpected error; continuing")
                    green.real_sleep(LOOK_S)
        finally:
            self.has_ended = True

    def _step(self) -> None:
        while self._calls:
            fn, args = self._calls.popleft()
            fn(*args)
        if self._is_stopping and not self._children:
            return  # nothing would wake it up again
        now = time.monotonic()
        wait_until = self._upkeep(now)
        timeout_ms = None if wait_until is None else max(0, int((wait_until - now) * 1000) + 1)
        ready = self._poll.poll(timeout_ms)
        for fd, _ in ready:
            if fd == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    self._os.read(fd, 65_536)
            elif fd in self._by_fd:
                child, fn = self._by_fd[fd]
                fn(child)
        for child in list(self._children):
            self._reap(child)

    def _upkeep(self, now: float) -> float | None:
        """Start and kill children that are due; return when the next is due, monotonic s."""
        due: list[float] = []
        starting = sum(pool.starting() for pool in self.pools)
        for pool in sorted(self.pools, key=lambda each: not each.is_waited_for):
            pool.trim()
            for _ in range(min(pool.wanted(), STARTING_MAX - starting)):
                pool.start_child()
                starting += 1
            if (retry_at := pool.retry_at()) is not None:
                due.append(retry_at)
        for child, pool in self._children.items():
            if (look_at := pool.watch_memory(child, now)) is not None:
                due.append(look_at)
            if child.kill_at is not None and child.kill_at <= now:
                child.kill(_why_late(child))
            elif child.kill_at is not None:
                due.append(child.kill_at)
            if child.pidfd < 0:
                due.append(now + LOOK_S)
            if not child.pass_stderr_on():
                due.append(now + PASS_S)
            mask = self._select.POLLIN | (self._select.POLLOUT if child.has_output else 0)
            if child.sock.fileno() in self._by_fd:
                self._poll.modify(child.sock.fileno(), mask)
        return min(due, default=None)

    def _receive(self, child: ChildHandle) -> None:
        child.flush()
        pool = self._children[child]
        try:
            for message in child.messages():
                pool.received(child, message)
        except (ValueError, KeyError, TypeError) as exc:
            child.kill(f"The handler's process sent a malformed message ({exc!r})")
        if child.has_hung_up:
            self._unregister(child.sock.fileno())
            child.end(time.monotonic() + GRACE_S)

    def _read_stderr(self, child: ChildHandle) -> None:
        child.read_stderr()
        if not child.unread_stderr:
            self._unregister(child.stderr_fd)

    def _reap(self, child: ChildHandle) -> None:
        code = child.reap()
        if code is None:
            return
        self._receive(child)
        while child.read_stderr():
            pass
        child.pass_stderr_on()
        pool = self._children.pop(child)
        for fd in (child.sock.fileno(), child.stderr_fd, child.pidfd):
            self._unregister(fd)
        child.close()
        pool.died(child, code)

    def _unregister(self, fd: int) -> None:
        if self._by_fd.pop(fd, None) is not None:
            self._poll.unregister(fd)


def _why_late(child: ChildHandle) -> str:
    """Return why a child is killed at its deadline; "" if it was asked to exit."""
    if child.state is State.STARTING:
        return (
            "it was not ready in time. Does an imported module run forever? Put such code below "
            'if __name__ == "__main__":'
        )
    return "The handler's process closed its connection to its worker but kept running" if child.has_hung_up else ""
