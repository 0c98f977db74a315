"""Pass calls from an OS thread to a thread of the engine's kind, which may be green."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from ....concurrency import green
from ....concurrency.essential import run_essential

log = logging.getLogger("kue.worker")


class Mailbox:
    """Makes the calls given to ``put``, in order, in one thread of the engine's kind."""

    def __init__(self) -> None:
        self._os = green.original("os")
        # The reading end is a socket of the engine's kind, so that a green thread waiting on it yields.
        self._reading, self._writing = socket.socketpair()
        self._writing_fd = self._writing.fileno()
        self._os.set_blocking(self._writing_fd, False)
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_closed = False

    def start(self) -> None:
        green.spawn(run_essential, "messages of child processes", self._run)

    def put(self, fn: Callable[..., object], *args: Any) -> None:
        """Schedule ``fn(*args)``. From any thread; never blocks."""
        self._calls.append((fn, args))
        with contextlib.suppress(OSError):  # full, so the thread wakes up anyway; or closed
            self._os.write(self._writing_fd, b"\0")

    def close(self) -> None:
        """End the thread after all pending calls. Call it in a thread of the engine's kind."""
        self._is_closed = True
        self.put(lambda: None)

    def _run(self) -> None:
        while not (self._is_closed and not self._calls):
            self._reading.recv(4096)
            while self._calls:
                fn, args = self._calls.popleft()
                try:
                    fn(*args)
                except Exception:
                    log.exception("Cannot handle a message from a child process")
        self._reading.close()
        self._writing.close()
