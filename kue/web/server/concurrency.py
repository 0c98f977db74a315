"""A bound on the requests that are answered at one time, since each may take a connection to Redis and open files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from kue.process.descriptors import reserved


def bounded(app: Callable[..., Iterable[bytes]], unbounded: str) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that lets further calls of ``app`` wait; not those on paths with that prefix.

    What a client can hold up must be outside: its body is here already, and its answer is sent later.
    """
    free = threading.BoundedSemaphore(max(1, reserved() // 3))

    def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").lower().startswith(unbounded):
            return app(environ, start_response)
        with free:
            return app(environ, start_response)

    return around
