"""Which server serves: by green threads in a process that eventlet has patched, else by plain ones."""

from __future__ import annotations

import importlib
import socket
from typing import Any, Protocol

from kue.concurrency import green


class Server(Protocol):
    """Serves an application on a listening socket."""

    def run(self) -> None:
        """Serve until the socket is closed, or ``stop`` is called."""

    def stop(self) -> None:
        """Take no more connections. The requests under way are answered if the process lives on."""


def server_of(sock: socket.socket, app: Any) -> Server:
    """Return the server of this kind of process. Each is imported where it is needed: only one may be installed."""
    name = "wsgi_server" if green.enabled() else "thread_server"
    module = importlib.import_module(f"kue.web.server.{name}")
    server: Server = (module.WsgiServer if green.enabled() else module.ThreadServer)(sock, app)
    return server
