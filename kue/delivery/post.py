"""A POST request to an address that the guard permits, with timeouts and limits, without following redirects."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

from ..downloads.addresses.address_guard import Guard
from ..downloads.addresses.urls import host_label, split_url
from ..downloads.errors import DownloadError
from ..downloads.http import tls
from ..downloads.http.connection import HttpStream, Network
from ..downloads.http.proxy import Proxy
from ..downloads.http.response import Response
from ..downloads.http.timeouts import Timeouts
from ..downloads.http.tls import TlsOptions
from ..errors import KueError

#: How long a receiver may take in all, and for the connection, seconds.
TOTAL_S, CONNECT_S = 15.0, 5.0
USER_AGENT = "kue-webhook/1"
#: Largest record of TLS.
RECORD_BYTES = 16 * 1024


class Answer(NamedTuple):
    """A receiver's response."""

    status: int
    retry_after_s: float | None


class PostFailed(KueError):
    """There was no response. ``refused``: the guard does not permit the address, so retrying is useless."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class _TooSlow(Exception):
    pass


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    guard: Guard,
    tls_options: TlsOptions,
    *,
    proxy: Proxy | None = None,
    total_s: float = TOTAL_S,
) -> Answer:
    """Send a request and return the response's status. Its body is not read. Raises PostFailed.

    With a proxy, the guard checks the addresses to which the name resolves here; the proxy may resolve it differently.
    """
    deadline = time.monotonic() + total_s

    def tick() -> None:
        if time.monotonic() > deadline:
            raise _TooSlow

    timeouts = Timeouts(connect_s=min(CONNECT_S, total_s), headers_s=total_s, idle_s=total_s, floor_s=2 * total_s)
    network = Network(guard, timeouts, tick, tls_options)
    stream: HttpStream | None = None
    try:
        parts = split_url(url, guard.allow)
        sock = network.connect(parts, proxy)
        if parts.scheme == "https":
            sock = tls.handshake(sock, tls_options.context(True), parts.host, host_label(parts), timeouts.connect_s)
        with closing(sock):
            target, sent = parts.target, dict[str, str]()
            if proxy is not None and proxy.scheme in ("http", "https") and parts.scheme == "http":
                target = str(parts)
                sent = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            lines = [f"POST {target} HTTP/1.1", f"Host: {parts.authority}"]
            sent |= {"User-Agent": USER_AGENT, "Connection": "close", "Content-Length": str(len(body)), **headers}
            lines += [f"{name}: {value}" for name, value in sent.items()]
            _send(sock, "\r\n".join([*lines, "", ""]).encode("latin-1") + body, deadline)
            left = replace(timeouts, headers_s=max(0.1, deadline - time.monotonic()))
            stream = HttpStream(sock, host_label(parts), left, tick)
            head = stream.read_head()
            return Answer(head.status, Response(head, stream, url, host_label(parts), 0).retry_after_s())
    except (_TooSlow, TimeoutError):
        raise PostFailed(f"no response within {total_s:g} s") from None
    except DownloadError as exc:
        text = str(exc).replace("DOWNLOAD_ALLOW", "KUE_WEBHOOK_ALLOW")
        raise PostFailed(text, refused=text.startswith("Refused: ") or "Refused: " in text) from None
    except OSError as exc:
        raise PostFailed(f"the connection was lost: {exc.strerror or type(exc).__name__}") from None
    finally:
        if stream is not None:
            stream.close()


def _send(sock: Any, data: bytes, deadline: float) -> None:
    """Send all before the deadline: over TLS, ``sendall`` takes its timeout for each record."""
    for start in range(0, len(data), RECORD_BYTES):
        if time.monotonic() > deadline:
            raise _TooSlow
        sock.settimeout(max(0.1, deadline - time.monotonic()))
        sock.sendall(data[start : start + RECORD_BYTES])
