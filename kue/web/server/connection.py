"""A client's connection, and which side it waits for, which decides what to close if there are too many."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

#: Seconds after which a connection with an unread response counts as idle.
UNREAD_S = 1.0


class Connection:
    """One connection. ``busy`` while a complete request, including its body, is being handled."""

    def __init__(self, sock: Any) -> None:
        self.socket = sock
        self.busy = False
        self.since = time.monotonic()
        self.writing_since: float | None = None

    def is_idle(self, now: float) -> bool:
        """Return whether the server waits for the client: for the rest of a request, or for it to read the response."""
        return not self.busy or (self.writing_since is not None and now - self.writing_since >= UNREAD_S)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Context in which the server waits for a request's body."""
        busy, self.busy = self.busy, False
        try:
            yield
        finally:
            self.busy = busy

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Context in which a part of a response is sent."""
        self.writing_since = time.monotonic()
        try:
            yield
        finally:
            self.writing_since = None

    def close(self) -> None:
        """End the input for its reader."""
        with suppress(OSError):  # it may already be closed
            self.socket.shutdown(socket.SHUT_RDWR)


class Answer:
    """A client's output; its connection records since when the client has not read."""

    def __init__(self, file: Any, connection: Connection) -> None:
        self._file, self._connection = file, connection

    def write(self, data: bytes) -> int:
        with self._connection.writing():
            return int(self._file.write(data))

    def writelines(self, lines: Iterable[bytes]) -> None:
        with self._connection.writing():
            self._file.writelines(lines)

    def flush(self) -> None:
        with self._connection.writing():
            self._file.flush()

    def close(self) -> None:
        with self._connection.writing():
            self._file.close()

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)
