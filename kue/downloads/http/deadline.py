"""A deadline for several reads and writes of one socket, whose timeout applies to each single one."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from types import TracebackType


class Deadline:
    """Shut a socket down after ``seconds``: what reads it then meets the end of the connection. A context manager.

    For handshakes by other libraries, so that a peer that sends one byte at a time cannot prolong them.
    """

    def __init__(self, fd: int, seconds: float) -> None:
        self._fd: int | None = fd
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self.passed = False

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            self._fd = None  # the descriptor may be reused from now on

    def _end(self) -> None:
        with self._lock:
            if self._fd is not None:
                self.passed = True
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._fd)) as sock:
                    sock.shutdown(socket.SHUT_RDWR)
