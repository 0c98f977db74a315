"""The life of a web process: listen, serve, and shut down gracefully."""

from __future__ import annotations

import errno
import logging
import socket
import time
from typing import Any

from ..concurrency import essential, green
from ..errors import KueError
from ..process import descriptors
from ..process.log_output import configure_logging
from ..process.stop_signals import GRACE_S, StopSignals, log_shutdown, wait_for_redis
from ..process.title import set_title
from ..queue import Queue
from ..settings import Settings

log = logging.getLogger("kue")

#: Poll interval for signals, seconds.
LOOK_S = 0.1


class MonitorServer:
    """Listens and serves. Shuts down in order: no new jobs, clients notified, jobs finished or released, Redis last."""

    def __init__(self, settings: Settings, queue: Queue, server: Any = None) -> None:
        self._settings, self._queue, self._server = settings, queue, server
        essential.on_exit = essential.exit_process
        descriptors.raise_limit()
        self._signals = StopSignals()
        self._signals.release_jobs = queue._release_all
        self._socket: socket.socket | None = None
        configure_logging(form=settings.log_format)

    def listen(self) -> None:
        """Bind the port, before any job is reserved. Raises KueError if it is in use."""
        host, port = self._settings.host, self._settings.port
        try:
            self._socket = green.listen(host, port)
        except OSError as exc:
            self._close()
            if exc.errno == errno.EADDRINUSE:
                raise KueError(f"port {port} is already in use; choose another with --port or PORT") from exc
            raise KueError(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc

    def wait_for_redis(self) -> bool:
        """Wait until Redis answers; return False, with everything closed, if a signal came first."""
        if wait_for_redis(self._queue, self._signals):
            return True
        self._close()
        return False

    def run(self, app: Any, socketio: Any) -> None:
        """Serve until a signal arrives, then shut down gracefully. A second signal releases running jobs at once."""
        from ..web import stop
        from ..web.server.start import server_of

        assert self._socket is not None
        green.spawn(essential.run_essential, "web server", server_of(self._socket, app).run)
        shown = "localhost" if self._settings.host in ("127.0.0.1", "::1") else self._settings.host
        log.info("Open http://%s:%d", shown, self._settings.port)
        set_title(f"web {self._settings.host}:{self._settings.port}")
        while not self._signals.count:
            green.sleep(LOOK_S)
        log_shutdown(len(self._queue.running()), GRACE_S)
        self._queue.quiet()
        stop(app)
        give_up = time.monotonic() + GRACE_S
        while self._queue.running() and self._signals.count < 2 and time.monotonic() < give_up:
            green.sleep(LOOK_S)
        self._queue.shutdown(0)
        self._close()
        log.info("Stopped")

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._server is not None:
            self._server.stop()
