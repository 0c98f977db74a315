"""One connection to a client, and whom it waits for: that decides which may be closed when there are too many."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

#: Seconds that a client may leave an answer unread before its connection counts as idle.
UNREAD_S = 1.0


class Connection:
    """One connection. ``busy`` while a complete request is being answered, its body included."""

    def __init__(self, sock: Any) -> None:
        self.socket = sock
        self.busy = False
        self.since = time.monotonic()
        self.writing_since: float | None = None

    def is_idle(self, now: float) -> bool:
        """Tell whether the server waits for the client: for the rest of a request, or for it to read the answer."""
        return not self.busy or (self.writing_since is not None and now - self.writing_since >= UNREAD_S)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within it, the body of a request is awaited."""
        busy, self.busy = self.busy, False
        try:
            yield
        finally:
            self.busy = busy

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Within it, a part of an answer is sent."""
        self.writing_since = time.monotonic()
        try:
            yield
        finally:
            self.writing_since = None

    def close(self) -> None:
        """End the input for whoever reads from it."""
        with suppress(OSError):  # it may be gone already
            self.socket.shutdown(socket.SHUT_RDWR)


class Answer:
    """What is written to a client; its connection knows since when the client lets a part of it wait."""

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
