"""How many connections a process serves, and how many of them may be live: WebSockets and long polls stay."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from kue.process import descriptors

#: Connections that one process serves at most, however many descriptors there are.
CONNECTIONS_MAX = 10_000
#: Part of the connections that WebSockets and long polls may take together; the rest is for requests.
LIVE_SHARE = 0.75
#: Where long polls come in, below whatever path a proxy passes on.
SOCKET_PATH = "/socket.io/"


def connections_max() -> int:
    """Return how many connections this process can hold, by its limit on descriptors."""
    return max(8, min(CONNECTIONS_MAX, descriptors.limit() - descriptors.reserved()))


def live_share(app: Callable[..., Iterable[bytes]], limit: float) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that calls ``app``, with at most ``limit`` WebSockets and long polls at a time."""
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
