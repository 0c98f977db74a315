"""The HTTP library's connections, with the guard in front of each and a meter on all that is read.

Everything that arrives, headers included, passes ``Meter.readinto``. There the hub gets its turn, interrupts get
through while a server is silent, and servers that dawdle or talk without end are cut off.
"""

from __future__ import annotations

import email.errors
import errno
import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from kue import green

from . import words
from .errors import DownloadError, DownloadFailed
from .guard import Guard

#: Longest a read blocks before interrupts are looked for, seconds.
LOOK_S = 0.5
#: Headers and chunked trailers are read through a buffer of this size; bodies go past it.
BUFFER_BYTES = 64 * 1024
#: More than this beside a body (headers, 1xx answers, trailers) is an attack, bytes.
OVERHEAD_BYTES = 256 * 1024


#: What the parser of headers says of a multipart type, since it sees no body; that is no fault.
_ABOUT_BODIES = (email.errors.StartBoundaryNotFoundDefect, email.errors.MultipartInvariantViolationDefect)


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

    def readinto(self, buffer: Any) -> int:
        """Read what there is, at least one byte, or 0 at the end. Raises DownloadError in words."""
        if self._broken is not None:
            raise self._broken
        size = self._read(buffer)
        if self._records and size:
            size = self._read_on(memoryview(buffer), size)
        if self._green:
            # A fast sender never lets recv block, and the other green threads would starve.
            green.sleep(0)
        return size

    def _read_on(self, view: memoryview, size: int) -> int:
        """Read more TLS records, of at most 16 KiB each, as long as they are here: one at a time is slow going."""
        first, end, read = size, len(view), self._sock.recv_into
        self._sock.settimeout(0)
        try:
            while size < end:
                more = read(view[size:])
                if more == 0:
                    break
                size += more
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
            pass
        except OSError:
            self._broken = Cut(f"{self._host} closed the connection")  # after what is here already
        finally:
            self._sock.settimeout(LOOK_S)
        self._waited(0, size - first)
        self._overhead += size - first
        return size

    def _read(self, buffer: Any) -> int:
        while True:
            began = time.monotonic()
            try:
                size: int = self._sock.recv_into(buffer)
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
            raise Cut(f"{self._host} sent nothing for {words.duration(patience.idle_s)}")
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise DownloadError(f"{self._host} did not finish its headers in {words.duration(patience.headers_s)}")
        # Only the time spent waiting for the server counts: our own rate limit must not make it look slow.
        self._waited_s += seconds
        self._window_bytes += size
        if self._waited_s >= patience.floor_s:
            if self._window_bytes < patience.floor_bytes:
                raise Cut(
                    f"{self._host} is too slow: {words.size(self._window_bytes)} in {words.duration(self._waited_s)}"
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


class MeteredResponse(http.client.HTTPResponse):
    """http.client's response, reading through a Meter, and stricter about headers."""

    def __init__(self, sock: Any, *args: Any, host: str, patience: Patience, tick: Callable[[], None], **more: Any):
        super().__init__(sock, *args, **more)
        self.host = host
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
    metered: MeteredResponse | None = None

    def _new_conn(self: Any) -> socket.socket:
        sock: socket.socket = self.net.connect(self.host, self.port, self.socket_options)
        return sock

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
            raise DownloadError(f"{shown} did not answer within {words.duration(self.patience.connect_s)}")
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
