"""Connections for one download: each address checked, each byte monitored."""

from __future__ import annotations

import errno
import io
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any

from .. import messages
from ..addresses.address_guard import Guard, literal_address
from ..addresses.urls import Url, host_label
from ..errors import DownloadError, DownloadFailed
from ..files.disk_space import write_all
from ..files.splice import Pipe, possible
from . import socks_proxy, tls
from .proxy import Proxy, http_tunnel
from .response_head import Head, read_head
from .timeouts import MonitoredReader, Timeouts

#: Headers and chunked trailers are read through a buffer of this size; bodies bypass it.
BUFFER_BYTES = 64 * 1024
#: One small packet per write would wait for acknowledgements.
_NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

#: Connect to a socket address of a family, within so many seconds.
Connect = Callable[[int, tuple[Any, ...], float], socket.socket]


class HttpStream:
    """The receiving side of a connection: the head, then body bytes into memory or directly into a file."""

    def __init__(self, sock: Any, host: str, timeouts: Timeouts, tick: Callable[[], None]) -> None:
        self._sock = sock
        self._pipe: Pipe | None = None
        # Only a plain socket can be spliced: beneath TLS the bytes are encrypted.
        self._moves = possible() and isinstance(sock, socket.socket) and not isinstance(sock, ssl.SSLSocket)
        self.monitor = MonitoredReader(sock, host, timeouts, tick)
        self.reader = io.BufferedReader(self.monitor, BUFFER_BYTES)
        self._host = host

    def read_head(self) -> Head:
        """Read status and headers. Raises DownloadError."""
        head = read_head(self.reader, self._host)
        self.monitor.begin_body()
        return head

    def fill(self, view: memoryview) -> int:
        """Read some bytes of what follows the head into ``view``; 0 at the end of the connection."""
        # At most one read of the socket, straight into the caller's memory.
        size: int = self.reader.readinto1(view)
        return size

    def fill_file(self, fd: int, position: int, view: memoryview) -> int:
        """Write some bytes of what follows the head at ``position`` of a file, at most as many as ``view`` holds."""
        if self._moves and not self.monitor.buffered(self.reader):
            if self._pipe is None:
                self._pipe = Pipe()
            moved = self.monitor.move(self._pipe, fd, position, len(view))
            if moved is not None:
                return moved
            self._moves = False
        size = self.fill(view)
        write_all(fd, view[:size], position)
        return size

    def close(self) -> None:
        """Close the connection."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        self.reader.close()
        self.monitor.close()


class Network:
    """What the connections of one download share: guard, timeouts, TLS, proxy, and a check for interrupts."""

    def __init__(
        self,
        guard: Guard,
        timeouts: Timeouts | None = None,
        tick: Callable[[], None] = lambda: None,
        tls_options: tls.TlsOptions | None = None,
    ) -> None:
        self.guard, self.timeouts, self.tick = guard, timeouts or Timeouts(), tick
        self.tls_options = tls_options or tls.TlsOptions()

    def with_tick(self, tick: Callable[[], None]) -> Network:
        """Return the same network for another thread."""
        return Network(self.guard, self.timeouts, tick, self.tls_options)

    def request(
        self, url: Url, headers: Mapping[str, str], proxy: Proxy | None = None, is_own_server: bool = False
    ) -> tuple[Head, HttpStream]:
        """Send a GET request; return the response's head and the connection positioned at its body.

        ``is_own_server``: the server may see the client certificate. Raises DownloadError.
        """
        label = host_label(url)
        sock = self.connect(url, proxy)
        if url.scheme == "https":
            context = self.tls_options.context(is_own_server)
            sock = tls.handshake(sock, context, url.host, label, self.timeouts.connect_s)
        target = url.target
        sent = dict(headers)
        if proxy is not None and proxy.scheme in ("http", "https") and url.scheme == "http":
            target = str(url)
            if proxy.authorization:
                sent["Proxy-Authorization"] = proxy.authorization
        lines = [f"GET {target} HTTP/1.1", f"Host: {url.authority}", *(f"{name}: {sent[name]}" for name in sent)]
        stream: HttpStream | None = None
        try:
            sock.settimeout(self.timeouts.idle_s)
            sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            stream = HttpStream(sock, label, self.timeouts, self.tick)
            return stream.read_head(), stream
        except BaseException as exc:
            refusal = tls.pending_refusal(sock, label) if stream is None and isinstance(exc, OSError) else None
            (stream or sock).close()
            if refusal is not None:
                raise refusal from None
            if isinstance(exc, TimeoutError):
                raise DownloadError(f"{label} did not respond in time") from None
            if isinstance(exc, OSError):
                raise _lost(exc, label) from None
            raise

    def connect(self, url: Url, proxy: Proxy | None = None) -> socket.socket:
        """Connect to the server of ``url``, through the proxy if there is one. Raises DownloadError."""
        if proxy is None:
            return self._dial(url.host, url.port, self.guard, host_label(url), _direct)
        self._check_behind_proxy(url, proxy)
        guard, label = Guard(["*"]) if proxy.is_trusted else self.guard, f"the {proxy.label}"
        if proxy.is_socks:
            host = url.host if proxy.resolves_names else str(self.guard.addresses(url.host, url.port)[0][1][0])

            def through(family: int, address: tuple[Any, ...], timeout_s: float) -> socket.socket:
                return socks_proxy.connect(
                    family, address, proxy.credentials, f"The {proxy.label}", host, url.port, timeout_s
                )

            return self._dial(proxy.host, proxy.port, guard, label, through)
        sock = self._dial(proxy.host, proxy.port, guard, label, _direct)
        if proxy.scheme == "https":
            context = self.tls_options.context(False)
            sock = tls.handshake(sock, context, proxy.host, label, self.timeouts.connect_s)
        try:
            if url.scheme == "https":
                http_tunnel(sock, proxy, url, self.timeouts.connect_s)
            return sock
        except BaseException as exc:
            sock.close()
            if isinstance(exc, TimeoutError):
                raise DownloadError(f"The {proxy.label} did not respond in time") from None
            if isinstance(exc, OSError):
                raise _lost(exc, label) from None
            raise

    def _check_behind_proxy(self, url: Url, proxy: Proxy) -> None:
        """Refuse what the guard refuses, as far as that is known here: the proxy may resolve the name differently."""
        try:
            self.guard.addresses(url.host, url.port)
        except DownloadFailed:
            raise
        except DownloadError:
            # The name is unknown here. The proxy resolves it, unless it is an address.
            if not proxy.resolves_names or literal_address(url.host) is not None:
                raise

    def _dial(self, host: str, port: int, guard: Guard, label: str, connect: Connect) -> socket.socket:
        """Connect to the first permitted address of ``host`` that answers."""
        targets = guard.addresses(host, port)
        each_s = max(1.0, self.timeouts.connect_s / len(targets))
        failure: OSError | None = None
        for family, address in targets:
            try:
                sock = connect(family, address, each_s)
                sock.setsockopt(*_NO_DELAY)
                sock.settimeout(self.timeouts.connect_s)  # for a TLS handshake or a proxy
                return sock
            except OSError as exc:
                failure = exc
                self.tick()
        if isinstance(failure, TimeoutError) or (failure and failure.errno == errno.ETIMEDOUT):
            raise DownloadError(f"{label} did not respond within {messages.duration(self.timeouts.connect_s)}")
        if isinstance(failure, ConnectionRefusedError):
            raise DownloadError(f"{label} refused the connection")
        raise DownloadError(f"{label} is unreachable: {failure.strerror if failure else 'no address'}")


def _direct(family: int, address: tuple[Any, ...], timeout_s: float) -> socket.socket:
    """Connect to an address. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout_s)
        sock.connect(address)
        return sock
    except BaseException:
        sock.close()
        raise


def _lost(exc: OSError, label: str) -> DownloadError:
    if isinstance(exc, ssl.SSLError):
        return tls.explain(exc, label, "")
    if isinstance(exc, ConnectionError):
        return DownloadError(f"{label} closed the connection without a response")
    return DownloadError(f"Connection to {label} was lost: {exc.strerror or type(exc).__name__}")
