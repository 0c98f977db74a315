"""Timeouts and limits of what a server sends.

Every byte read, including headers, passes through MonitoredReader: it yields to the hub, lets interrupts through while
the server is silent, and drops servers that are too slow or send too much besides the body.
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
from . import tls

#: Longest blocking read before checking for interrupts, seconds.
LOOK_S = 0.5
#: Limit of all bytes besides the body (headers, interim responses, trailers).
OVERHEAD_BYTES = 256 * 1024


@dataclass(frozen=True)
class Timeouts:
    """How long a server may take, in seconds. It must send ``floor_bytes`` in each ``floor_s`` seconds of waiting."""

    connect_s: float = 10
    headers_s: float = 60
    idle_s: float = 30
    floor_bytes: int = 8 * 1024
    floor_s: float = 60


class ConnectionBroken(DownloadError):
    """The connection ended or stalled inside a body. The next attempt resumes from what has arrived."""


class MonitoredReader(io.RawIOBase):
    """Read a socket, as the raw file beneath an io.BufferedReader[Any]."""

    def __init__(self, sock: Any, host: str, timeouts: Timeouts, tick: Callable[[], None]) -> None:
        super().__init__()
        self._sock, self._host = sock, host
        self._timeouts, self._tick = timeouts, tick
        self._green = green.enabled()
        self._deadline: float | None = time.monotonic() + timeouts.headers_s
        self._overhead = 0
        self._idle_s = 0.0
        self._waited_s, self._window_bytes = 0.0, 0
        self._broken: ConnectionBroken | None = None
        self._dry = False
        self._probe = bytearray(1)
        self._records = isinstance(sock, ssl.SSLSocket)
        sock.settimeout(LOOK_S)
        if self._records:
            # Without it a cut connection looks like the end of a body that has no declared length.
            sock.suppress_ragged_eofs = False

    def readable(self) -> bool:
        """Tell io.BufferedReader[Any] that this can be read."""
        return True

    def begin_body(self) -> None:
        """The headers are complete: their deadline no longer applies."""
        self._deadline = None
        self._overhead = 0

    def delivered(self) -> None:
        """Body bytes have reached the caller: reset the count of other bytes."""
        self._overhead = 0

    def readinto(self, buffer: Any) -> int | None:
        """Read at least one byte, or return 0 at the end. Raises DownloadError."""
        if self._dry:
            return None
        if self._broken is not None:
            raise self._broken
        size = self._read(buffer)
        if self._records and size:
            size = self._read_on(memoryview(buffer), size)
        if self._green:
            # With a fast sender recv never blocks, and other green threads would starve.
            green.sleep(0)
        return size

    def buffered(self, above: io.BufferedReader[Any]) -> int:
        """Return how many bytes are in the buffer of the reader above."""
        self._dry = True
        try:
            return len(above.peek())
        finally:
            self._dry = False

    def move(self, pipe: Pipe, fd: int, position: int, most: int) -> int | None:
        """As ``readinto``, but directly to ``position`` of a file; None if splice does not work here."""
        while True:
            try:
                size = pipe.take(self._sock.fileno(), most)
            except OSError as exc:
                raise ConnectionBroken(f"Connection to {self._host} was lost: {exc.strerror or exc}") from None
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
        """Read further TLS records (16 KiB each) that have already arrived: one per call would be slow."""
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
            # Raised after the bytes already read.
            self._broken = ConnectionBroken(f"{self._host} closed the connection")
        finally:
            self._wait(True)
        self._waited(0, size - first)
        self._overhead += size - first
        return size

    def _wait(self, wait: bool) -> None:
        """Switch between blocking and non-blocking reads."""
        if self._green:
            # A timeout of 0 would still yield to the hub.
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
                refusal = tls.refusal(exc, self._host) if self._deadline is not None else None
                raise refusal or ConnectionBroken(f"{self._host} closed the connection") from None
            except OSError as exc:
                raise ConnectionBroken(f"Connection to {self._host} was lost: {exc.strerror or exc}") from None
            self._waited(time.monotonic() - began, size)
            if size == 0 and was_reset(self._sock):
                raise ConnectionBroken(f"Connection to {self._host} was lost: connection reset")
            self._overhead += size
            if self._overhead > OVERHEAD_BYTES + len(buffer):
                raise DownloadFailed(f"{self._host} sent more than {OVERHEAD_BYTES // 1024} KiB of response headers")
            return size

    def close(self) -> None:
        """Close the socket."""
        if not self.closed:
            try:
                self._sock.close()
            finally:
                super().close()

    def _waited(self, seconds: float, size: int) -> None:
        timeouts = self._timeouts
        self._idle_s = 0.0 if size else self._idle_s + seconds
        if self._idle_s >= timeouts.idle_s:
            raise ConnectionBroken(f"{self._host} sent nothing for {messages.duration(timeouts.idle_s)}")
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise DownloadError(
                f"{self._host} timed out: no complete response headers within {messages.duration(timeouts.headers_s)}"
            )
        # Only time spent waiting for the server counts, so our own rate limit does not make it look slow.
        self._waited_s += seconds
        self._window_bytes += size
        if self._waited_s >= timeouts.floor_s:
            if self._window_bytes < timeouts.floor_bytes:
                raise ConnectionBroken(
                    f"{self._host} is too slow: {messages.size(self._window_bytes)} "
                    f"in {messages.duration(self._waited_s)}"
                )
            self._waited_s, self._window_bytes = 0.0, 0


def was_reset(sock: Any) -> bool:
    """Return whether a connection at its end was reset by the other side, where the system can tell.

    eventlet turns a reset into an ordinary end, which would make a truncated body of unknown length look complete.
    """
    if not hasattr(socket, "TCP_INFO"):
        return False
    try:
        state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, AttributeError):
        return False
    return state == 7  # TCP_CLOSE; after an orderly end it is CLOSE_WAIT
