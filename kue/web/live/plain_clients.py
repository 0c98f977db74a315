"""Send events to all plain clients: many at once, each encoded once.

Socket.IO sends each event to each client by itself, through a queue and a thread of the client. Here the events of one
turn become one piece of bytes, which goes into the buffers of all WebSockets. A client that polls, or whose earlier
packets are not sent yet, gets them through its queue, so each receives the events in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engineio import packet as engine_packet
from flask_socketio import SocketIO
from socketio import packet

from kue.concurrency import green
from kue.web.live.frame_writer import FrameWriter, text_frame
from kue.web.live.relay import PlainEvent
from kue.web.live.rooms import PLAIN

#: Events sent together; then the other green threads have their turn.
EVENTS_A_TURN = 200


class PlainClients:
    """The plain clients of one Socket.IO server."""

    def __init__(self, socketio: SocketIO) -> None:
        self._server = socketio.server

    def emit(self, events: Sequence[PlainEvent]) -> None:
        """Send events, each a name and a payload, to every plain client. Called by one task only."""
        for at in range(0, len(events), EVENTS_A_TURN):
            if at:
                green.sleep()
            self._emit(events[at : at + EVENTS_A_TURN])

    def _emit(self, events: Sequence[PlainEvent]) -> None:
        messages = [self._encoded(*event) for event in events]
        frames: bytes | None = None
        engine = self._server.eio
        for eio_sid in list(self._server.manager.rooms.get("/", {}).get(PLAIN, {}).values()):
            connection = engine.sockets.get(eio_sid)
            writer: FrameWriter | None = getattr(connection, "frame_writer", None)
            if writer is not None and writer.is_ready() and connection.upgraded and connection.queue.empty():
                if frames is None:
                    frames = b"".join(text_frame(f"{engine_packet.MESSAGE}{message}") for message in messages)
                writer.put(frames)
            else:
                for message in messages:
                    self._server._send_eio_packet(eio_sid, engine_packet.Packet(engine_packet.MESSAGE, message))

    def _encoded(self, name: str, payload: dict[str, Any]) -> str:
        encoded: str = self._server.packet_class(packet.EVENT, data=[name, payload], namespace="/").encode()
        return encoded
