"""The HTTP library's connections, with the guard in front of each and a meter on all that is read."""

from __future__ import annotations

import contextlib
import email.errors
import errno
import http.client
import io
import os
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from kue.concurrency import green

from .. import messages
from ..errors import DownloadError, DownloadFailed
from ..files.disk_space import write_all
from ..files.splice import Pipe, possible
from .address_guard import Guard
from .watchdog import Meter, Patience

#: Headers and chunked trailers are read through a buffer of this size; bodies go past it.
BUFFER_BYTES = 64 * 1024
#: What the parser of headers says of a multipart type, since it sees no body; that is no fault.
_ABOUT_BODIES = (email.errors.StartBoundaryNotFoundDefect, email.errors.MultipartInvariantViolationDefect)


class MeteredResponse(http.client.HTTPResponse):
    """http.client's response, reading through a Meter, and stricter about headers."""

    _pipe: Pipe | None = None

    def __init__(self, sock: Any, *args: Any, host: str, patience: Patience, tick: Callable[[], None], **more: Any):
        super().__init__(sock, *args, **more)
        self.host = host
        # Only what certainly is a bare socket: beneath TLS lie other bytes.
        self._moves = possible() and isinstance(sock, socket.socket) and not isinstance(sock, ssl.SSLSocket)
        self.meter = Meter(sock, self.fp.detach(), host, patience, tick)
        self.fp = io.BufferedReader(self.meter, BUFFER_BYTES)

    def begin(self) -> None:
        """Read status and headers. Raises DownloadFailed if what follows a broken line would be taken for the body."""
        super().begin()
        broken = [defect for defect in self.msg.defects if not isinstance(defect, _ABOUT_BODIES)]
        unread = None if self.msg.is_multipart() else self.msg.get_payload()
        if broken or (unread and self.msg.get_content_maintype() != "multipart"):
            raise DownloadFailed(f"{self.host} sent headers that cannot be read")
        self.meter.begin_body()

    def fill(self, view: memoryview) -> int:
        """Read some bytes of what follows the headers into ``view``; 0 at the end of the connection."""
        # At most one read of the socket, straight into the caller's memory.
        size: int = self.fp.readinto1(view)
        return size

    def fill_file(self, fd: int, position: int, view: memoryview) -> int:
        """Write some bytes of what follows the headers at ``position`` of a file, at most as many as ``view`` holds."""
        if self._moves and not self.meter.buffered(self.fp):
            if self._pipe is None:
                self._pipe = Pipe()
            moved = self.meter.move(self._pipe, fd, position, len(view))
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
        super().close()


class Watch:
    """Ends a TLS handshake that takes too long. Under eventlet the time-out of a socket is that of each single read."""

    def __init__(self, fd: int, seconds: float) -> None:
        self._fd = fd
        self._timer: threading.Timer | None = None
        if green.enabled():
            self._timer = threading.Timer(seconds, self._give_up)
            self._timer.start()

    def end(self) -> None:
        """The handshake is over: from here on the descriptor may be anybody's."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._timer is not None:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._fd)) as sock:
                sock.shutdown(socket.SHUT_RDWR)


def _response_maker(connection: Any) -> Callable[..., MeteredResponse]:
    def make(sock: Any, *args: Any, **more: Any) -> MeteredResponse:
        net = connection.net
        response = MeteredResponse(
            sock, *args, host=net.label(connection), patience=net.patience, tick=net.tick, **more
        )
        connection.metered = response
        return response

    return make


class _Guarded:
    """What the two kinds of connection share. ``net`` is set on a subclass made for each session."""

    net: Network
    _watch: Watch | None = None
    metered: MeteredResponse | None = None

    def _new_conn(self: Any) -> socket.socket:
        sock: socket.socket = self.net.connect(self.host, self.port, self.socket_options)
        is_tls = isinstance(self, HTTPSConnection)
        if is_tls:
            self._watch = Watch(sock.fileno(), self.net.patience.connect_s)
        return sock

    def connect(self: Any) -> None:
        """Connect, with all that TLS has to say in the time that a connection may take."""
        try:
            super().connect()  # type: ignore[misc]
        finally:
            if self._watch is not None:
                self._watch.end()

    def getresponse(self: Any) -> Any:
        self.response_class = _response_maker(self)
        response = super().getresponse()  # type: ignore[misc]
        response.metered = self.metered
        return response


class Network:
    """All that one download's connections need: the guard, the patience, and where to look for interrupts."""

    def __init__(self, guard: Guard, patience: Patience | None = None, tick: Callable[[], None] = lambda: None) -> None:
        self.guard, self.patience, self.tick = guard, patience or Patience(), tick

    def label(self, connection: Any) -> str:
        """Return the host of a connection for people."""
        host, port = str(connection.host), connection.port
        return host if port in (80, 443) else f"{host}:{port}"

    def connect(self, host: str, port: int, options: Any = None) -> socket.socket:
        """Connect to the first permitted address of ``host`` that answers. Raises DownloadError in words."""
        targets = self.guard.addresses(host, port)
        each_s = max(1.0, self.patience.connect_s / len(targets))
        shown = host if port in (80, 443) else f"{host}:{port}"
        failure: OSError | None = None
        for family, target in targets:
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                for option in options or ():
                    sock.setsockopt(*option)
                sock.settimeout(each_s)
                sock.connect(target)
                sock.settimeout(self.patience.connect_s)  # for a TLS handshake
                return sock
            except OSError as exc:
                failure = exc
                sock.close()
                self.tick()
            except BaseException:
                sock.close()
                raise
        if isinstance(failure, TimeoutError) or (failure and failure.errno == errno.ETIMEDOUT):
            raise DownloadError(f"{shown} did not answer within {messages.duration(self.patience.connect_s)}")
        if isinstance(failure, ConnectionRefusedError):
            raise DownloadError(f"{shown} refused the connection")
        raise DownloadError(f"{shown} cannot be reached: {failure.strerror if failure else 'no address'}")

    def session(self, verify: bool | str = True, proxies: dict[str, str] | None = None) -> requests.Session:
        """Return a session whose every connection is guarded. Nothing from the environment is used."""
        session = _Session()
        session.trust_env = False
        session.verify = verify
        if proxies:
            session.proxies.update(proxies)
        for scheme in ("http://", "https://"):
            session.mount(scheme, GuardedAdapter(self))
        return session


class _Session(requests.Session):
    """A session that leaves redirects alone: requests would read the whole body of one, however long that is."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return nothing: ``fetch`` follows redirects itself."""
        return None


class GuardedAdapter(HTTPAdapter):
    """Mounts guarded and metered connections into a requests session."""

    def __init__(self, network: Network) -> None:
        self._network = network
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """Make the pool manager, with this session's own kinds of connection."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = _pools(self._network)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """Make the manager of a proxy that was asked for: the proxy is trusted, and metered all the same."""
        manager = super().proxy_manager_for(proxy, **more)
        open_guard = Guard(["*"])
        manager.pool_classes_by_scheme = _pools(Network(open_guard, self._network.patience, self._network.tick))
        return manager


def _pools(network: Network) -> dict[str, type]:
    plain = type("_Plain", (_Guarded, HTTPConnection), {"net": network})
    tls = type("_Tls", (_Guarded, HTTPSConnection), {"net": network})
    return {
        "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("_TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }
