"""WebSockets of a server with OS threads: Engine.IO's own support for WSGI servers, and ours for ASGI."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from engineio.async_drivers._websocket_wsgi import SimpleWebSocketWSGI
from flask_socketio import SocketIO

from kue.web.server.asgi import WEB_SOCKET

#: Environ keys with which WSGI servers hand over a request's connection, as in simple-websocket.
SOCKETS = ("werkzeug.socket", "gunicorn.socket")


def web_sockets_of_threads(socketio: SocketIO, max_message_bytes: int) -> None:
    """Make a Socket.IO server in threading mode accept WebSockets on every server that supports them."""

    class WebSocket:
        """Engine.IO's interface of a WebSocket: a WSGI application that calls ``handler`` with one."""

        def __init__(self, handler: Callable[[Any], Iterable[bytes]], server: Any) -> None:
            self._handler, self._server = handler, server

        def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            line = environ.get(WEB_SOCKET)
            if line is not None:
                line.accept()
                return self._handler(line)
            inner = SimpleWebSocketWSGI(self._handler, self._server, max_message_size=max_message_bytes)
            answer: Iterable[bytes] = inner(environ, start_response)
            return answer

    engine = socketio.server.eio
    engine._async = {**engine._async, "websocket": WebSocket}


def refuse_unsupported(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that responds to handshakes with 501 if the server does not hand over connections.

    Clients then poll. ``app`` would register a client for such a handshake before failing.
    """

    def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        is_handshake = environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        if is_handshake and not any(name in environ for name in (WEB_SOCKET, *SOCKETS, "eventlet.input")):
            start_response("501 Not Implemented", [("Content-Type", "text/plain")])
            return [b"this server does not support WebSockets\n"]
        return app(environ, start_response)

    return around


def cut(environ: dict[str, Any]) -> None:
    """Close a WebSocket's connection immediately, even while another thread sends to it."""
    line = environ.get(WEB_SOCKET)
    if line is not None:
        line.abort()
        return
    raw = next((environ[name] for name in SOCKETS if name in environ), None)
    if raw is None and "eventlet.input" in environ:
        raw = environ["eventlet.input"].get_socket()
    if raw is not None:
        with suppress(OSError):
            raw.shutdown(socket.SHUT_RDWR)
