"""One POST request to an address that the guard permits; redirects are not followed, and everything has a limit."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from ..downloads.errors import DownloadError
from ..downloads.http import tls
from ..downloads.http.address_guard import Guard
from ..downloads.http.connection import HttpStream, Network
from ..downloads.http.response import Response
from ..downloads.http.timeouts import Timeouts
from ..downloads.http.tls import TlsOptions
from ..downloads.http.urls import host_label, split_url
from ..errors import KueError

#: How long a receiver may take in all, and for the connection, seconds.
TOTAL_S, CONNECT_S = 15.0, 5.0
USER_AGENT = "kue-webhook/1"


class Answer(NamedTuple):
    """What a receiver answered."""

    status: int
    retry_after_s: float | None


class PostFailed(KueError):
    """There was no answer. ``refused``: the guard does not permit the address, so another try is of no use."""

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
    total_s: float = TOTAL_S,
) -> Answer:
    """Send a request, and return the status of the answer. Its body is not read. Raises PostFailed."""
    deadline = time.monotonic() + total_s

    def tick() -> None:
        if time.monotonic() > deadline:
            raise _TooSlow

    timeouts = Timeouts(connect_s=min(CONNECT_S, total_s), headers_s=total_s, idle_s=total_s, floor_s=2 * total_s)
    network = Network(guard, timeouts, tick, tls_options)
    stream: HttpStream | None = None
    try:
        parts = split_url(url, guard.allow)
        sock = network.connect(parts)
        if parts.scheme == "https":
            sock = tls.handshake(sock, tls_options.context(True), parts.host, host_label(parts), timeouts.connect_s)
        with closing(sock):
            lines = [f"POST {parts.target} HTTP/1.1", f"Host: {parts.authority}"]
            sent = {"User-Agent": USER_AGENT, "Connection": "close", "Content-Length": str(len(body)), **headers}
            lines += [f"{name}: {value}" for name, value in sent.items()]
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            sock.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            left = replace(timeouts, headers_s=max(0.1, deadline - time.monotonic()))
            stream = HttpStream(sock, host_label(parts), left, tick)
            head = stream.read_head()
            return Answer(head.status, Response(head, stream, url, host_label(parts), 0).retry_after_s())
    except (_TooSlow, TimeoutError):
        raise PostFailed(f"no answer within {total_s:g} s") from None
    except DownloadError as exc:
        text = str(exc).replace("DOWNLOAD_ALLOW", "KUE_WEBHOOK_ALLOW")
        raise PostFailed(text, refused=text.startswith("Refused: ") or "Refused: " in text) from None
    except OSError as exc:
        raise PostFailed(f"the connection was lost: {exc.strerror or type(exc).__name__}") from None
    finally:
        if stream is not None:
            stream.close()
