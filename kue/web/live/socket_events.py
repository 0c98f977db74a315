"""Socket.IO: handlers of the events that clients send.

Plain clients (any Socket.IO client) are in the room PLAIN from the start and receive each job event.
A page sends `watch`, leaves that room, and receives numbered frames instead.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import request, session
from flask_socketio import SocketIO, join_room, leave_room

from kue.errors import InvalidJob, KueError, QueueUnavailable
from kue.web.access.accounts import Visitor
from kue.web.access.audit import audit
from kue.web.access.security import READ_ONLY
from kue.web.live import start_event
from kue.web.live.packets import UNREADABLE, AckWanted
from kue.web.live.relay import Relay
from kue.web.live.rooms import PAGES, PLAIN
from kue.web.present.job_row import Frame

if TYPE_CHECKING:
    from kue.queue import Queue
    from kue.web.access.security import Security

log = logging.getLogger("kue.web")

#: Interval between checks for clients whose sessions have ended, seconds.
SESSION_CHECK_S = 10.0
#: Seconds after which the connection of a user whom a proxy names is cut. The client connects again, and the proxy says
#: whether the user still has access.
SIGN_ON_AGAIN_S = 15 * 60.0


class SocketHandlers:
    """Handles the events of clients."""

    def __init__(
        self, socketio: SocketIO, queue: Queue, security: Security, relay: Relay, allow: tuple[str, ...]
    ) -> None:
        self._socketio, self._queue, self._security, self._relay, self._allow = socketio, queue, security, relay, allow
        #: For each socket, a function that returns its visitor.
        self._visitors: dict[str, Callable[[], Visitor | None]] = {}
        #: The login session of each socket that has one.
        self._sessions: dict[str, str] = {}
        #: When each socket that has a user of single sign-on is cut.
        self._cut_at: dict[str, float] = {}
        self._stopping = threading.Event()
        socketio.on_event("connect", self.on_connect)
        socketio.on_event("disconnect", self.on_disconnect)
        socketio.on_event("start", self.on_start)
        socketio.on_event("watch", self.on_watch)
        socketio.on_event(UNREADABLE, self.on_unreadable)
        socketio.on_event("*", self.on_unknown)

    def on_connect(self, auth: object = None) -> bool | None:
        visitor = self._security.socket_visitor(auth)
        if visitor is None:
            return False
        self._visitors[request.sid] = self._security.standing(visitor)  # type: ignore[attr-defined]
        if self._security.is_by_session():
            self._sessions[request.sid] = session["id"]  # type: ignore[attr-defined]
        if self._security.user_of_proxy() is not None:
            self._cut_at[request.sid] = time.monotonic() + SIGN_ON_AGAIN_S  # type: ignore[attr-defined]
        join_room(PLAIN)
        return None

    def on_disconnect(self, *reason: object) -> None:
        self._cut_at.pop(request.sid, None)  # type: ignore[attr-defined]
        self._visitors.pop(request.sid, None)  # type: ignore[attr-defined]
        self._sessions.pop(request.sid, None)  # type: ignore[attr-defined]

    def _writer(self) -> Visitor:
        """Return the sender if they have read-write access. Raises Refused."""
        standing = self._visitors.get(request.sid)  # type: ignore[attr-defined]
        visitor = standing() if standing is not None else None
        if visitor is None:
            raise start_event.Refused("refused", "your session has ended; log in again")
        if not visitor.may_write:
            raise start_event.Refused("refused", READ_ONLY)
        return visitor

    def run(self) -> None:
        """Close sockets whose sessions have ended, until stopped; runs in one task."""
        while not self._stopping.wait(SESSION_CHECK_S):
            self.close_ended()

    def stop(self) -> None:
        self._stopping.set()

    def close_ended(self) -> None:
        """Close the sockets whose sessions have ended for any reason, and those whose user has a new password."""
        for sid in [sid for sid, standing in list(self._visitors.items()) if standing() is None]:
            with contextlib.suppress(KeyError):  # disconnected meanwhile
                self._socketio.server.disconnect(sid)
        for sid in [sid for sid, at in list(self._cut_at.items()) if time.monotonic() >= at]:
            # Of the connection and not of the socket alone, after which no client would connect again. Without waiting
            # until all is written: if the client is lost at this moment, nothing is written any more.
            server = self._socketio.server
            connection = server.eio.sockets.get(server.manager.eio_sid_from_sid(sid, "/"))
            if connection is not None:
                connection.close(wait=False)

    def end_session(self, session_id: str) -> None:
        """Close the sockets of a session that was logged out."""
        for sid in [sid for sid, each in self._sessions.items() if each == session_id]:
            self._socketio.server.disconnect(sid)

    def on_start(self, *args: Any) -> Any:
        """`start`: create a download job. Only the sender receives an error."""
        *said, ack = args
        try:
            visitor = self._writer()
            wanted = start_event.parse(tuple(said), self._allow)
            job_id = start_event.create(self._queue, wanted)
        except start_event.Refused as exc:
            return self._answer(ack, exc.answer)
        except InvalidJob as exc:
            return self._answer(ack, {"error": str(exc), "code": "bad_option"})
        except (QueueUnavailable, OSError):
            return self._answer(ack, {"error": "Redis is not responding; try again in a moment", "code": "unavailable"})
        except KueError as exc:
            return self._answer(ack, {"error": str(exc), "code": "refused"})
        except Exception:
            log.exception("start failed")
            return self._answer(ack, {"error": "internal server error; see the server log", "code": "error"})
        audit("start", f"job {job_id}", visitor)
        self._relay.touch([job_id])  # no event announces a delayed job
        return self._answer(ack, {"id": job_id})

    def on_watch(self, *args: Any) -> Any:
        """`watch {epoch, seq}`: send frames instead of single events from now on. Returns the changes since then."""
        *said, _ack = args
        last = said[0] if said and isinstance(said[0], dict) else {}

        def join() -> None:
            leave_room(PLAIN)
            join_room(PAGES)

        frame: Frame = self._relay.catch_up(last.get("epoch"), last.get("seq"), join)
        return frame

    def on_unreadable(self, *args: Any) -> Any:
        return self._answer(args[-1], {"error": "malformed Socket.IO event", "code": "bad_request"})

    def on_unknown(self, name: str, *args: Any) -> Any:
        message = "unknown event; expected 'start' or 'watch'"
        return self._answer(args[-1] if args else None, {"error": message, "code": "unknown_event"})

    def _answer(self, ack: object, answer: Any) -> Any:
        """Acknowledge if requested; an error without acknowledgement is sent as an `error` event."""
        wanted = isinstance(ack, AckWanted) and ack.value
        if not wanted and "error" in answer:
            self._socketio.emit("error", answer, to=request.sid)  # type: ignore[attr-defined]
        return answer
