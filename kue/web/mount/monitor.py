"""The monitor of one queue inside an application: a WSGI application that receives each request with its visitor."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from typing import Any

from kue.queue import Queue
from kue.settings import Settings
from kue.web.assembly import assemble
from kue.web.mount.access import NO_ACCESS, VISITOR, MountedSecurity, is_open
from kue.web.server.capacity import SOCKET_PATH


class MountedMonitor:
    """Pages, API and live updates. Starts with the first request, in the process that handles it."""

    def __init__(
        self, queue: Queue, *, back: tuple[str, str] | None, downloads: bool, settings: Settings | None
    ) -> None:
        self._queue, self._back, self._downloads = queue, back, downloads
        self._settings = settings or Settings.load({})
        self._lock = threading.Lock()
        self._started_in: int | None = None
        self._closed = threading.Event()
        self._build()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Handle a request whose environ has its visitor, and the monitor's path in ``SCRIPT_NAME``."""
        path = environ["PATH_INFO"]
        if environ.get(VISITOR) is None and path.lower().startswith(SOCKET_PATH) and not is_open(path):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [NO_ACCESS.encode()]
        self._start_once()
        return self.app.wsgi_app(environ, start_response)

    def close(self) -> None:
        """Stop live updates. May be called twice; the monitor cannot be used afterwards."""
        self._closed.set()
        self._live.stop()

    def _build(self) -> None:
        security = MountedSecurity(self._settings, self._queue)
        self.app, _ = assemble(self._settings, self._queue, security, downloads=self._downloads)
        self.app.config["KUE_BACK"] = self._back
        self._live: Any = self.app.extensions["kue"]

    def _start_once(self) -> None:
        if self._started_in == os.getpid():
            return
        with self._lock:
            if self._started_in == os.getpid() or self._closed.is_set():
                return
            if self._started_in is not None:  # forked: the threads and the clients are the parent's
                self._build()
            self._started_in = os.getpid()
            self._live.start()


def check_prefix(url_prefix: str) -> str:
    """Return a path such as ``/jobs``, also of ``/jobs/``. Raises ValueError."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", url_prefix):
        raise ValueError(f"url_prefix must be a path such as '/jobs', not {url_prefix!r}")
    return url_prefix.rstrip("/")


def path_below(path: str, prefix: str) -> str | None:
    """Return the path inside the monitor, None if it is not below ``prefix``."""
    if path == prefix:
        return "/"
    return path[len(prefix) :] if path.startswith(prefix + "/") else None
