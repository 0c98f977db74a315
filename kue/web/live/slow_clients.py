"""Disconnect clients that read too slowly, so that they do not hold the others back."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any

from flask_socketio import SocketIO

from kue.web.live.rooms import PAGES
from kue.web.live.web_socket import cut

log = logging.getLogger("kue.web")

#: Unread packets after which a client is disconnected. A page receives at most ten frames a second, of up to some
#: 150 kB, shared between all clients; a plain client gets one small packet for each event.
PAGE_BACKLOG = 60
PLAIN_BACKLOG = 5_000
#: Interval between checks for such clients, seconds.
SLOW_CHECK_S = 1.0


class SlowClients:
    """Monitors every client's backlog."""

    def __init__(self, socketio: SocketIO) -> None:
        self._socketio = socketio
        self._stopping = threading.Event()
        #: Clients disconnected since the start.
        self.dropped = 0

    def run(self) -> None:
        """Check until stopped; runs in one task."""
        while not self._stopping.wait(SLOW_CHECK_S):
            self.drop()

    def stop(self) -> None:
        self._stopping.set()

    def drop(self) -> None:
        """Disconnect each client that has too many unread packets."""
        server = self._socketio.server
        pages = set((server.manager.rooms.get("/", {}).get(PAGES) or {}).values())
        for eio_sid, connection in list(server.eio.sockets.items()):
            waiting = connection.queue.qsize()
            if waiting > (PAGE_BACKLOG if eio_sid in pages else PLAIN_BACKLOG):
                self.dropped += 1
                log.warning("Disconnected a client that reads too slowly: %d packets were unread", waiting)
                _disconnect(server, eio_sid, connection)


def _disconnect(server: Any, eio_sid: str, connection: Any) -> None:
    environ = server.environ.get(eio_sid) or {}
    # Engine.IO would wait until the client has read everything: empty its queue and close immediately.
    with contextlib.suppress(Exception):
        while connection.queue.qsize():
            connection.queue.get(block=False)
    connection.close(wait=False, abort=True)
    server.eio.sockets.pop(eio_sid, None)
    # The writer is blocked in a send to that client; only closing the TCP connection ends it.
    cut(environ)
