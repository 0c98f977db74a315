"""Choose the web server: green threads in a process patched by eventlet, else OS threads."""

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
        """Accept no more connections. Requests in progress are completed if the process continues."""


def server_of(sock: socket.socket, app: Any) -> Server:
    """Return the server for this process. Imported lazily: only one may be installed."""
    name = "wsgi_server" if green.enabled() else "thread_server"
    module = importlib.import_module(f"kue.web.server.{name}")
    server: Server = (module.WsgiServer if green.enabled() else module.ThreadServer)(sock, app)
    return server
