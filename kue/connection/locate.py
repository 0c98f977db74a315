"""Locate Redis if no URL is given: the same rule for the library, the CLI, the workers and the app.

1. ``REDIS_URL``, if it is set.
2. A Redis on 127.0.0.1:6379, if one answers.
3. The embedded Valkey that runs in ``KUE_DATA_DIR`` (``.kue``).

Only the app and the URL ``embedded://`` start an embedded Valkey.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import redis

from ..concurrency import green
from ..embedded.ping import ping
from ..embedded.server import USUAL_HOST, USUAL_PORT, EmbeddedServer, HasRedisSettings, ensure_redis, probe
from ..errors import InvalidAddress
from .url import Address, parse

log = logging.getLogger("kue")

DATA_DIR = ".kue"
EMBEDDED = "embedded"
#: Poll interval while another thread is locating it, seconds.
LOOK_S = 0.005


def data_dir() -> Path:
    """Return the folder of the embedded server, from the environment."""
    return Path(os.environ.get("KUE_DATA_DIR", "").strip() or DATA_DIR)


def is_embedded(url: object) -> bool:
    return isinstance(url, str) and url.lower().startswith(f"{EMBEDDED}:")


def embedded_dir(url: str, default: Path | None = None) -> Path:
    """Return the folder that ``embedded://`` (the default) or ``embedded:///path`` names. Raises InvalidAddress."""
    parts = urlsplit(url)
    if parts.netloc or parts.query or parts.fragment or not url.lower().startswith(f"{EMBEDDED}://"):
        raise InvalidAddress(
            f"invalid URL {url!r}: write embedded:// (jobs in {DATA_DIR}) or embedded:///path/to/folder"
        )
    return Path(unquote(parts.path)) if parts.path not in ("", "/") else default or data_dir()


def source_of(redis: object) -> object:
    """Convert a user's ``redis`` argument to a Connector source: None and ``embedded://`` become a Place."""
    if redis is None:
        redis = os.environ.get("REDIS_URL", "").strip() or None
    if redis is None:
        return Nearby()
    return Embedded(embedded_dir(str(redis))) if is_embedded(redis) else redis


def app_source(settings: HasRedisSettings) -> tuple[object, EmbeddedServer | None]:
    """Return the ``redis`` argument for the app's queue, and the embedded server that the caller must stop, if any.

    Uses the same rule, but starts the server of the data directory if none runs. Raises ServerError.
    """
    if settings.redis_url and is_embedded(settings.redis_url):
        place = Embedded(embedded_dir(settings.redis_url, settings.data_dir))
        place.address()  # start it now, so that errors show immediately
        return place, None
    url, server = ensure_redis(settings)
    return (url, None) if server is None else (Running(url, settings.data_dir), server)


class Place:
    """A Redis that is located at the first connection; the address then stays fixed."""

    def __init__(self) -> None:
        # An OS lock, since the heartbeat calls from an OS thread. Polled, since blocking would stop all green threads.
        self._lock: Any = green.original("threading").Lock()
        self._address: Address | None = None

    def address(self) -> Address:
        """Return its address. Raises redis.ConnectionError if there is none yet, ServerError if it cannot start."""
        while not self._lock.acquire(blocking=False):
            time.sleep(LOOK_S)
        try:
            if self._address is None:
                url, told = self._find()
                self._address = parse(url)
                log.info("Using %s", told)
            return self._address
        finally:
            self._lock.release()

    def close(self) -> None:
        """Stop what was started for it."""

    def after_fork(self) -> None:
        """Called in a forked child: another thread of the parent may have held the lock."""
        self._lock = green.original("threading").Lock()

    def _find(self) -> tuple[str, str]:
        raise NotImplementedError


class Nearby(Place):
    """The Redis on the usual port, or the embedded Valkey that runs in the data directory."""

    def _find(self) -> tuple[str, str]:
        usual = f"{USUAL_HOST}:{USUAL_PORT}"
        usable, problem = probe(USUAL_HOST, USUAL_PORT, loading_s=0)
        if usable:
            return f"redis://{usual}/0", f"Redis at {usual}/0"
        folder = data_dir()
        socket_path = _socket_path(folder)
        if socket_path is not None and _is_private(socket_path, folder) and ping(str(socket_path)):
            return "unix://" + quote(os.fsencode(socket_path)), f"the embedded Valkey in {folder}"
        raise redis.ConnectionError(
            f"{problem or f'nothing responds on {usual}'}, and no embedded Valkey runs in {folder}: start a Redis, "
            f"set REDIS_URL, run the app in this folder, or use {EMBEDDED}://"
        )


class Running(Place):
    """The embedded Valkey of a folder, started and stopped by the caller."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__()
        self._url, self._folder = url, folder

    def _find(self) -> tuple[str, str]:
        return self._url, f"the embedded Valkey in {self._folder}"


class Embedded(Place):
    """The embedded Valkey of a folder, started if it does not run; it ends with its last user."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._server = EmbeddedServer(folder)
        self._folder = folder
        #: Returns a function that stops the queue using it; called at exit, before the server ends.
        self.user: Callable[[], Callable[[], object] | None] = lambda: None

    def _find(self) -> tuple[str, str]:
        import atexit

        url = self._server.start()
        atexit.register(self._end)
        return url, f"the embedded Valkey in {self._folder}"

    def close(self) -> None:
        self._server.stop()
        self._address = None

    def _end(self) -> None:
        stop_user = self.user()
        if stop_user is not None:
            stop_user()
        self.close()

    def after_fork(self) -> None:
        """Called in a forked child, which becomes a separate user: the server outlives the parent."""
        super().after_fork()
        self._server, self._address = EmbeddedServer(self._server.data_dir), None


class Borrowed:
    """The place of another queue. Only that queue closes it."""

    def __init__(self, place: Place) -> None:
        self.address = place.address

    def close(self) -> None:
        pass

    def after_fork(self) -> None:
        pass


def _socket_path(folder: Path) -> Path | None:
    try:
        from ..embedded.keeper import socket_path_for
    except ImportError:  # no fcntl: there is no embedded server
        return None
    return socket_path_for(folder.resolve())


def _is_private(socket_path: Path, folder: Path) -> bool:
    """Return whether nobody else can create this socket. In /tmp, anybody may create a directory of our name."""
    if socket_path.parent == folder.resolve():
        return True
    try:
        return socket_path.parent.lstat().st_uid == os.getuid()
    except OSError:
        return False
