"""Reads a socket for the HTTP library and keeps watch over it.

All that arrives, headers included, passes through here: the hub gets its turn, interrupts get through while a server is
silent, and servers that dawdle or talk without end are cut off.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kue.concurrency import green

from .. import messages
from ..errors import DownloadError, DownloadFailed
from ..files.splice import Pipe

#: Longest a read blocks before interrupts are looked for, seconds.
LOOK_S = 0.5
#: More than this beside a body (headers, 1xx answers, trailers) is an attack, bytes.
OVERHEAD_BYTES = 256 * 1024


@dataclass(frozen=True)
class Patience:
    """How long a server may take. Times in seconds; ``floor_bytes`` in ``floor_s`` seconds of waiting is the least."""

    connect_s: float = 10
    headers_s: float = 60
    idle_s: float = 30
    floor_bytes: int = 8 * 1024
    floor_s: float = 60


class Cut(DownloadError):
    """The connection ended or stalled inside a body. What has arrived is kept, and the next attempt goes on there."""


class Meter(io.RawIOBase):
    """Reads a socket for http.client, as the raw file beneath its buffer."""

    def __init__(self, sock: Any, wrapped: Any, host: str, patience: Patience, tick: Callable[[], None]) -> None:
        super().__init__()
        self._sock, self._wrapped, self._host = sock, wrapped, host
        self._patience, self._tick = patience, tick
        self._green = green.enabled()
        self._deadline: float | None = time.monotonic() + patience.headers_s
        self._overhead = 0
        self._idle_s = 0.0
        self._waited_s, self._window_bytes = 0.0, 0
        self._broken: Cut | None = None
        self._dry = False
        self._probe = bytearray(1)
        self._records = isinstance(sock, ssl.SSLSocket)
        sock.settimeout(LOOK_S)
        if self._records:
            # Without it a cut connection looks like the end of a body that has no declared length.
            sock.suppress_ragged_eofs = False

    def readable(self) -> bool:
        """Tell io.BufferedReader that this can be read."""
        return True

    def begin_body(self) -> None:
        """The headers are through: from here on the deadline for them no longer counts."""
        self._deadline = None
        self._overhead = 0

    def delivered(self) -> None:
        """Body bytes have reached the caller: what was read so far was not for nothing."""
        self._overhead = 0

    def readinto(self, buffer: Any) -> int | None:
        """Read what there is, at least one byte, or 0 at the end. Raises DownloadError in words."""
        if self._dry:
            return None
        if self._broken is not None:
            raise self._broken
        size = self._read(buffer)
        if self._records and size:
            size = self._read_on(memoryview(buffer), size)
        if self._green:
            # A fast sender never lets recv block, and the other green threads would starve.
            green.sleep(0)
        return size

    def buffered(self, above: io.BufferedReader) -> int:
        """Return how many bytes the reader above has read and not yet given away."""
        self._dry = True
        try:
            return len(above.peek())
        finally:
            self._dry = False

    def move(self, pipe: Pipe, fd: int, position: int, most: int) -> int | None:
        """As ``readinto``, but straight to ``position`` of a file; None if that turns out to be impossible."""
        while True:
            try:
                size = pipe.take(self._sock.fileno(), most)
            except OSError as exc:
                raise Cut(f"The connection to {self._host} broke off: {exc.strerror or exc}") from None
            if not pipe.works:
                return None
            if size:
                break
            if self._read(self._probe, socket.MSG_PEEK) == 0:
                return 0
        pipe.give(fd, position, size)
        self._waited(0, size)
        if self._green:
            green.sleep(0)
        return size

    def _read_on(self, view: memoryview, size: int) -> int:
        """Read more TLS records, of at most 16 KiB each, as long as they are here: one at a time is slow going."""
        first, end, read = size, len(view), self._sock.read
        self._wait(False)
        try:
            while size < end:
                more = read(end - size, view[size:])
                if more == 0:
                    break
                size += more
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
            pass
        except OSError:
            self._broken = Cut(f"{self._host} closed the connection")  # after what is here already
        finally:
            self._wait(True)
        self._waited(0, size - first)
        self._overhead += size - first
        return size

    def _wait(self, wait: bool) -> None:
        """Let reads wait for bytes, or fail at once if there are none."""
        if self._green:
            # A time-out of 0 would still be a turn of the hub.
            self._sock.setblocking(wait)
        self._sock.settimeout(LOOK_S if wait else 0)

    def _read(self, buffer: Any, flags: int = 0) -> int:
        while True:
            began = time.monotonic()
            try:
                size: int = self._sock.recv_into(buffer, 0, flags) if flags else self._sock.recv_into(buffer)
            except TimeoutError:
                self._waited(time.monotonic() - began, 0)
                self._tick()
                continue
            except ssl.SSLError as exc:
                if isinstance(exc, ssl.SSLWantReadError):
                    self._waited(time.monotonic() - began, 0)
                    self._tick()
                    continue
                raise Cut(f"{self._host} closed the connection") from None
            except OSError as exc:
                raise Cut(f"The connection to {self._host} broke off: {exc.strerror or exc}") from None
            self._waited(time.monotonic() - began, size)
            if size == 0 and was_reset(self._sock):
                raise Cut(f"The connection to {self._host} broke off")
            self._overhead += size
            if self._overhead > OVERHEAD_BYTES + len(buffer):
                raise DownloadFailed(f"{self._host} sends headers without end")
            return size

    def close(self) -> None:
        """Close the file of the socket that this one replaced."""
        if not self.closed:
            try:
                self._wrapped.close()
            finally:
                super().close()

    def _waited(self, seconds: float, size: int) -> None:
        patience = self._patience
        self._idle_s = 0.0 if size else self._idle_s + seconds
        if self._idle_s >= patience.idle_s:
            raise Cut(f"{self._host} sent nothing for {messages.duration(patience.idle_s)}")
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise DownloadError(f"{self._host} did not finish its headers in {messages.duration(patience.headers_s)}")
        # Only the time spent waiting for the server counts: our own rate limit must not make it look slow.
        self._waited_s += seconds
        self._window_bytes += size
        if self._waited_s >= patience.floor_s:
            if self._window_bytes < patience.floor_bytes:
                raise Cut(
                    f"{self._host} is too slow: {messages.size(self._window_bytes)} "
                    f"in {messages.duration(self._waited_s)}"
                )
            self._waited_s, self._window_bytes = 0.0, 0


def was_reset(sock: Any) -> bool:
    """Tell whether a connection that reads as ended was broken off by the other side, where the system can say.

    eventlet turns a reset into an ordinary end, which would make a cut body without declared length look whole.
    """
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, AttributeError):
        return False
    return state == 7  # TCP_CLOSE; after an orderly end it is CLOSE_WAIT
