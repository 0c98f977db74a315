"""How many connections a process serves, and how many of them may be long-lived: WebSockets and long polls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from kue.process import descriptors

#: Maximum number of connections per process, even with more descriptors.
CONNECTIONS_MAX = 10_000
#: Share of the connections for WebSockets and long polls; the rest is for requests.
LIVE_SHARE = 0.75
#: The path of long polls, possibly below a proxy's path.
SOCKET_PATH = "/socket.io/"


def connections_max() -> int:
    """Return how many connections this process can hold, given its limit of descriptors."""
    return max(8, min(CONNECTIONS_MAX, descriptors.limit() - descriptors.reserved()))


def live_share(app: Callable[..., Iterable[bytes]], limit: float) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application around ``app``, with at most ``limit`` concurrent WebSockets and long polls."""
    live, lock = 0, threading.Lock()

    def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        nonlocal live
        is_poll = environ["REQUEST_METHOD"] == "GET" and SOCKET_PATH in environ["PATH_INFO"].lower()
        if not is_poll and environ.get("HTTP_UPGRADE", "").lower() != "websocket":
            return app(environ, start_response)
        with lock:
            has_room = live < limit
            live += has_room
        if not has_room:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain"), ("Connection", "close")])
            return [b"too many live connections\n"]
        try:
            return app(environ, start_response)
        finally:
            with lock:
                live -= 1

    return around
