"""The rooms of the sockets: plain clients receive single events, pages receive numbered frames."""

from __future__ import annotations

from flask_socketio import SocketIO

PLAIN, PAGES = "plain", "pages"


def members(socketio: SocketIO, room: str) -> int:
    """Return how many clients are in a room."""
    return len(socketio.server.manager.rooms.get("/", {}).get(room, ()))
