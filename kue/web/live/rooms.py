"""Socket rooms: plain clients receive single events, pages receive numbered frames."""

from __future__ import annotations

from flask_socketio import SocketIO

PLAIN, PAGES = "plain", "pages"


def members(socketio: SocketIO, room: str) -> int:
    """Return the number of clients in a room."""
    return len(socketio.server.manager.rooms.get("/", {}).get(room, ()))
