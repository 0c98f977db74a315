"""Take long requests of clients that poll, in one Socket.IO server alone.

A client that polls sends what it gathered in one request. Engine.IO takes 16 packets of that and drops the client; its
limit is an attribute of a class, which an application around the monitor shares with its own Socket.IO servers.
"""

from __future__ import annotations

from typing import Any

from engineio.exceptions import ContentTooLongError
from engineio.payload import Payload
from engineio.socket import Socket
from flask_socketio import SocketIO

PACKETS_MAX = 1000


class _LongPayload(Payload):  # type: ignore[misc]
    max_decode_packets = PACKETS_MAX


class _Socket(Socket):  # type: ignore[misc]
    def handle_post_request(self, environ: dict[str, Any]) -> None:
        """Receive the packets of a request; as in Engine.IO, with another limit."""
        length = int(environ.get("CONTENT_LENGTH", "0"))
        if length > self.server.max_http_buffer_size:
            raise ContentTooLongError()
        for packet in _LongPayload(encoded_payload=environ["wsgi.input"].read(length).decode()).packets:
            self.receive(packet)


class _Sockets(dict[str, Any]):
    """The connections of an Engine.IO server, which adds each when it begins."""

    def __setitem__(self, sid: str, connection: Any) -> None:
        connection.__class__ = _Socket
        super().__setitem__(sid, connection)


def take_long_payloads(socketio: SocketIO) -> None:
    """Let this server's clients send up to PACKETS_MAX packets in one request."""
    socketio.server.eio.sockets = _Sockets()
