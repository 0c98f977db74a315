"""A process of the web app, from the first signal handler to the last goodbye."""

from __future__ import annotations

import errno
import logging
import socket
import time
from typing import Any

from ..concurrency import essential, green
from ..errors import KueError
from ..process import descriptors
from ..process.stop_signals import GRACE_S, StopSignals, wait_for_redis
from ..process.title import set_title
from ..queue import Queue
from ..settings import Settings

log = logging.getLogger("kue")

#: Seconds between two looks whether a signal came.
LOOK_S = 0.1


def configure_logging() -> None:
    """Log to stderr, from INFO on. Done at once: where the jobs are is told as soon as it is known."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    for name in ("kue.web.socketio", "kue.web.engineio"):  # a line for each packet
        logging.getLogger(name).setLevel(logging.WARNING)


def own_addresses(settings: Settings) -> tuple[str, ...]:
    """Return the names under which a browser on this machine reaches this server, as entries of an allow-list."""
    hosts = dict.fromkeys((settings.host, "localhost", "127.0.0.1", "[::1]"))
    return tuple(f"{host}:{settings.port}" for host in hosts)


class Program:
    """Listens, serves, and stops in order: no new job, clients told, jobs done or released, Redis last."""

    def __init__(self, settings: Settings, queue: Queue, server: Any = None) -> None:
        self._settings, self._queue, self._server = settings, queue, server
        essential.on_exit = essential.exit_process
        descriptors.raise_limit()
        self._signals = StopSignals()
        self._signals.release = queue._release_all
        self._socket: socket.socket | None = None
        configure_logging()

    def listen(self) -> None:
        """Take the port, before any job is. Raises KueError if somebody else has it."""
        host, port = self._settings.host, self._settings.port
        try:
            self._socket = green.listen(host, port)
        except OSError as exc:
            self._close()
            if exc.errno == errno.EADDRINUSE:
                raise KueError(f"port {port} is taken by another program; choose one with --port or PORT") from exc
            raise KueError(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc

    def wait_for_redis(self) -> bool:
        """Wait until Redis answers; return False if a signal came first: then all is closed."""
        if wait_for_redis(self._queue, self._signals):
            return True
        self._close()
        return False

    def run(self, app: Any, socketio: Any) -> None:
        """Serve until a signal comes, then stop. A second signal stops at once; jobs are released all the same."""
        from ..web import stop
        from ..web.server.wsgi_server import WsgiServer

        assert self._socket is not None
        green.spawn(essential.run_essential, "web server", WsgiServer(self._socket, app).run)
        shown = "localhost" if self._settings.host in ("127.0.0.1", "::1") else self._settings.host
        log.info("open http://%s:%d", shown, self._settings.port)
        set_title(f"web {self._settings.host}:{self._settings.port}")
        while not self._signals.count:
            green.sleep(LOOK_S)
        log.info("stopping: running jobs have %.0f s; press again to stop now", GRACE_S)
        self._queue.quiet()
        stop(app)
        give_up = time.monotonic() + GRACE_S
        while self._queue.running() and self._signals.count < 2 and time.monotonic() < give_up:
            green.sleep(LOOK_S)
        self._queue.shutdown(0)
        self._close()
        log.info("stopped")

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._server is not None:
            self._server.stop()
