"""The live updates of one app: create, start and stop the background tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask_socketio import SocketIO

from kue.concurrency.essential import run_essential
from kue.web.live.plain_clients import PlainClients
from kue.web.live.relay import Relay
from kue.web.live.rooms import PAGES, PLAIN, members
from kue.web.live.slow_clients import SlowClients
from kue.web.live.socket_events import SocketHandlers
from kue.web.metrics.event_counters import EventCounters
from kue.web.metrics.loop_lag import LoopLag

if TYPE_CHECKING:
    from kue.queue import Queue
    from kue.web.access.security import Security


class Monitor:
    """Relay, counters and the handlers of sockets."""

    def __init__(self, socketio: SocketIO, queue: Queue, security: Security, allow: tuple[str, ...] = ()) -> None:
        self._socketio, self._queue = socketio, queue
        #: Addresses besides public ones that downloads may connect to.
        self.allow = allow
        self.relay = Relay(
            queue,
            emit_plain=PlainClients(socketio).emit,
            emit_pages=lambda frame: socketio.emit("batch", frame, to=PAGES),
            has_plain=lambda: self.members(PLAIN) > 0,
            has_pages=lambda: self.members(PAGES) > 0,
        )
        self.counters = EventCounters(queue)
        self.lag = LoopLag()
        self.slow_clients = SlowClients(socketio)
        self.sockets = SocketHandlers(socketio, queue, security, self.relay, allow)
        self._unsubscribe: Callable[[], None] = lambda: None
        self._is_shutting_down = False

    def start(self) -> None:
        """Start listening and emitting."""
        self.relay.start()
        self._unsubscribe = self._queue.subscribe(self.counters.receive, required=False)
        tasks = {
            "relay": self.relay.run,
            "event counters": self.counters.run,
            "event loop lag": self.lag.run,
            "slow clients": self.slow_clients.run,
            "ended sessions": self.sockets.run,
        }
        for name, task in tasks.items():
            self._socketio.start_background_task(run_essential, name, task)

    def announce_shutdown(self, reason: str) -> None:
        """Notify every client that the server is shutting down. Events are still sent until it does."""
        if not self._is_shutting_down:
            self._is_shutting_down = True
            self._socketio.emit("shutdown", {"reason": reason})

    def stop(self) -> None:
        """Stop listening and emitting. May be called twice."""
        for service in (self.relay, self.counters, self.lag, self.slow_clients, self.sockets):
            service.stop()
        with contextlib.suppress(Exception):  # the queue may be closed already
            self._unsubscribe()

    def members(self, room: str) -> int:
        """Return the number of clients in a room."""
        return members(self._socketio, room)
