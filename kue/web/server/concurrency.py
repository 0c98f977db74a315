"""A limit of concurrent requests, since each may use a connection to Redis and open files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from kue.process.descriptors import reserved


def bounded(app: Callable[..., Iterable[bytes]], unbounded: str) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that queues excess calls of ``app``, except on paths with the given prefix.

    Slow clients do not hold slots: the body was read before, and the response is sent afterwards.
    """
    free = threading.BoundedSemaphore(max(1, reserved() // 3))

    def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").lower().startswith(unbounded):
            return app(environ, start_response)
        with free:
            return app(environ, start_response)

    return around
