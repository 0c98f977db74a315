"""Hands calls over from a thread of the operating system to one of the engine's kind, which may be green."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from ...concurrency import green
from ...concurrency.essential import run_essential

log = logging.getLogger("kue.worker")


class Mailbox:
    """Calls what is ``put``, in order, in one thread of the engine's kind."""

    def __init__(self) -> None:
        self._os = green.original("os")
        # The reading end is a socket of the engine's kind: a green thread that waits for it lets others run.
        self._reading, self._writing = socket.socketpair()
        self._writing_fd = self._writing.fileno()
        self._os.set_blocking(self._writing_fd, False)
        self._calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._is_closed = False

    def start(self) -> None:
        green.spawn(run_essential, "messages of child processes", self._run)

    def put(self, fn: Callable[..., object], *args: Any) -> None:
        """Let ``fn(*args)`` be called. From any thread; never waits."""
        self._calls.append((fn, args))
        with contextlib.suppress(OSError):  # full: then it wakes up anyway; or closed
            self._os.write(self._writing_fd, b"\0")

    def close(self) -> None:
        """Let the thread end when all calls are made. In a thread of the engine's kind."""
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
                    log.exception("a message of a child process could not be handled")
        self._reading.close()
        self._writing.close()
