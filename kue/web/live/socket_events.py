"""Socket.IO: the events that clients send, and the events that they receive.

Plain clients (any Socket.IO client) are in the room PLAIN from the start and receive each job event.
A page sends `watch`, leaves that room, and receives numbered frames instead.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import request, session
from flask_socketio import SocketIO, join_room, leave_room

from kue.concurrency.essential import run_essential
from kue.errors import InvalidJob, KueError, QueueUnavailable
from kue.web.access.accounts import Visitor
from kue.web.access.audit import audit
from kue.web.access.security import READ_ONLY
from kue.web.live import start_event
from kue.web.live.packets import UNREADABLE, AckWanted
from kue.web.live.relay import Relay
from kue.web.metrics.event_counters import EventCounters
from kue.web.metrics.loop_lag import LoopLag
from kue.web.present.job_row import Frame

if TYPE_CHECKING:
    from kue.queue import Queue
    from kue.web.access.security import Security

log = logging.getLogger("kue.web")

PLAIN, PAGES = "plain", "pages"

#: Unread packets after which a client is disconnected. A page receives at most ten frames a second, of up to some
#: 150 kB, shared between all clients; a plain client gets one small packet for each event.
PAGE_BACKLOG = 60
PLAIN_BACKLOG = 5_000
#: Seconds between two checks for such clients.
SLOW_CHECK_S = 1.0
#: Seconds between two checks for clients whose sessions have ended.
SESSION_CHECK_S = 10.0


class Monitor:
    """The server side of all sockets: handlers, relay, counters."""

    def __init__(self, socketio: SocketIO, queue: Queue, security: Security, allow: tuple[str, ...] = ()) -> None:
        self.socketio = socketio
        self.queue = queue
        self.security = security
        #: What downloads may connect to beside public addresses.
        self.allow = allow
        self.relay = Relay(
            queue,
            emit_plain=lambda name, payload: socketio.emit(name, payload, to=PLAIN),
            emit_pages=lambda frame: socketio.emit("batch", frame, to=PAGES),
            has_plain=lambda: self.members(PLAIN) > 0,
            has_pages=lambda: self.members(PAGES) > 0,
        )
        self.counters = EventCounters(queue)
        self.lag = LoopLag()
        self._unsubscribe: Callable[[], None] = lambda: None
        #: What tells as whom each socket is let in.
        self.visitors: dict[str, Callable[[], Visitor | None]] = {}
        #: The login session of each socket that has one.
        self.sessions: dict[str, str] = {}
        #: Clients disconnected because they read too slowly, since the start.
        self.slow_clients_dropped = 0
        self._is_shutting_down = False
        self._stopping = threading.Event()
        socketio.on_event("connect", self.on_connect)
        socketio.on_event("disconnect", self.on_disconnect)
        socketio.on_event("start", self.on_start)
        socketio.on_event("watch", self.on_watch)
        socketio.on_event(UNREADABLE, self.on_unreadable)
        socketio.on_event("*", self.on_unknown)

    def start(self) -> None:
        """Start listening and emitting."""
        self.relay.start()
        self._unsubscribe = self.queue.subscribe(self.counters.receive, required=False)
        tasks = {
            "relay": self.relay.run,
            "event counters": self.counters.run,
            "event loop lag": self.lag.run,
            "slow clients": self._watch_clients,
        }
        for name, task in tasks.items():
            self.socketio.start_background_task(run_essential, name, task)

    def announce_shutdown(self, reason: str) -> None:
        """Tell every client that the server is shutting down. Events go out as before until it does."""
        if not self._is_shutting_down:
            self._is_shutting_down = True
            self.socketio.emit("shutdown", {"reason": reason})

    def stop(self) -> None:
        """Stop listening and emitting. May be called twice."""
        self.relay.stop()
        self.counters.stop()
        self.lag.stop()
        self._stopping.set()
        with contextlib.suppress(Exception):  # the queue may be closed already
            self._unsubscribe()

    # Events from clients

    def on_connect(self, auth: object = None) -> bool | None:
        visitor = self.security.socket_visitor(auth)
        if visitor is None:
            return False
        self.visitors[request.sid] = self.security.standing(visitor)  # type: ignore[attr-defined]
        if self.security.accounts.required and self.security.is_by_session():
            self.sessions[request.sid] = session["id"]  # type: ignore[attr-defined]
        join_room(PLAIN)
        return None

    def on_disconnect(self, *reason: object) -> None:
        self.visitors.pop(request.sid, None)  # type: ignore[attr-defined]
        self.sessions.pop(request.sid, None)  # type: ignore[attr-defined]

    def _writer(self) -> Visitor:
        """Return the sender, if they may change anything. Raises Refused."""
        standing = self.visitors.get(request.sid)  # type: ignore[attr-defined]
        visitor = standing() if standing is not None else None
        if visitor is None:
            raise start_event.Refused("refused", "your session has ended; log in again")
        if not visitor.may_write:
            raise start_event.Refused("refused", READ_ONLY)
        return visitor

    def close_ended(self) -> None:
        """Close the sockets whose sessions have ended in whatever way, and those whose user has a new password."""
        for sid in [sid for sid, standing in list(self.visitors.items()) if standing() is None]:
            with contextlib.suppress(KeyError):  # it has gone meanwhile
                self.socketio.server.disconnect(sid)

    def end_session(self, session_id: str) -> None:
        """Close the sockets of a session that was logged out."""
        for sid in [sid for sid, each in self.sessions.items() if each == session_id]:
            self.socketio.server.disconnect(sid)

    def on_start(self, *args: Any) -> Any:
        """`start`: create a download job. Only the sender receives an error."""
        *said, ack = args
        try:
            visitor = self._writer()
            wanted = start_event.parse(tuple(said), self.allow)
            job_id = start_event.create(self.queue, wanted)
        except start_event.Refused as exc:
            return self.answer(ack, exc.answer)
        except InvalidJob as exc:
            return self.answer(ack, {"error": str(exc), "code": "bad_option"})
        except (QueueUnavailable, OSError):
            return self.answer(ack, {"error": "Redis is not responding; try again in a moment", "code": "unavailable"})
        except KueError as exc:
            return self.answer(ack, {"error": str(exc), "code": "refused"})
        except Exception:
            log.exception("start failed")
            return self.answer(ack, {"error": "internal server error; see the server log", "code": "error"})
        audit("start", f"job {job_id}", visitor)
        self.relay.touch([job_id])  # no event announces a delayed job
        return self.answer(ack, {"id": job_id})

    def on_watch(self, *args: Any) -> Any:
        """`watch {epoch, seq}`: send frames instead of single events from now on. Answers with what is new."""
        *said, _ack = args
        last = said[0] if said and isinstance(said[0], dict) else {}

        def join() -> None:
            leave_room(PLAIN)
            join_room(PAGES)

        frame: Frame = self.relay.catch_up(last.get("epoch"), last.get("seq"), join)
        return frame

    def on_unreadable(self, *args: Any) -> Any:
        return self.answer(args[-1], {"error": "malformed Socket.IO event", "code": "bad_request"})

    def on_unknown(self, name: str, *args: Any) -> Any:
        message = "unknown event; expected 'start' or 'watch'"
        return self.answer(args[-1] if args else None, {"error": message, "code": "unknown_event"})

    def answer(self, ack: object, answer: Any) -> Any:
        """Acknowledge if the sender asked for it; an error without acknowledgement is sent as an `error` event."""
        wanted = isinstance(ack, AckWanted) and ack.value
        if not wanted and "error" in answer:
            self.socketio.emit("error", answer, to=request.sid)  # type: ignore[attr-defined]
        return answer

    # Rooms and slow clients

    def members(self, room: str) -> int:
        """Return how many clients are in a room."""
        return len(self.socketio.server.manager.rooms.get("/", {}).get(room, ()))

    def _watch_clients(self) -> None:
        checked_at = time.monotonic()
        while not self._stopping.wait(SLOW_CHECK_S):
            self.drop_slow_clients()
            if time.monotonic() - checked_at >= SESSION_CHECK_S:
                self.close_ended()
                checked_at = time.monotonic()

    def drop_slow_clients(self) -> None:
        """Disconnect each client that has too many unread packets, so that it does not hold the others back."""
        server = self.socketio.server
        pages = set((server.manager.rooms.get("/", {}).get(PAGES) or {}).values())
        for eio_sid, connection in list(server.eio.sockets.items()):
            waiting = connection.queue.qsize()
            if waiting > (PAGE_BACKLOG if eio_sid in pages else PLAIN_BACKLOG):
                self.slow_clients_dropped += 1
                log.warning("Disconnected a client that reads too slowly: %d packets were unread", waiting)
                self._cut(server, eio_sid, connection)

    def _cut(self, server: Any, eio_sid: str, connection: Any) -> None:
        environ = server.environ.get(eio_sid) or {}
        # Engine.IO would wait until the client has read everything: empty its queue and close at once.
        with contextlib.suppress(Exception):
            while connection.queue.qsize():
                connection.queue.get(block=False)
        connection.close(wait=False, abort=True)
        server.eio.sockets.pop(eio_sid, None)
        # The writer is blocked in a send to that client; only closing the TCP connection ends it.
        raw = environ.get("werkzeug.socket")
        if raw is None and "eventlet.input" in environ:
            raw = environ["eventlet.input"].get_socket()
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.shutdown(socket.SHUT_RDWR)
