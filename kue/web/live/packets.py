"""Decode Socket.IO packets such that one of our handlers can answer every event, even malformed ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from socketio import packet

#: Event name under which unreadable events are handled. Clients cannot send it: it contains a NUL.
UNREADABLE = "\0unreadable"

#: Names that python-socketio calls itself. An event of such a name must not reach those handlers.
RESERVED = frozenset({"connect", "disconnect", "connect_error", "*"})

MAX_ATTACHMENTS = 4


@dataclass(frozen=True, slots=True)
class AckWanted:
    """Last argument of every event: whether its sender waits for an acknowledgement.

    python-socketio sends back a handler's return value if an acknowledgement was requested, but does not tell
    the handler. The contract answers errors in one of two ways, depending on that.
    """

    value: bool


class ClientPacket(packet.Packet):  # type: ignore[misc]
    """A packet whose decoded form is always ``[name, *args, AckWanted]`` if it is an event."""

    def decode(self, encoded_packet: Any) -> int:
        """Decode a packet. Malformed events become ``UNREADABLE`` ones instead of ending the connection."""
        unreadable = False
        self.packet_type: int
        self.data: Any
        try:
            attachments = super().decode(encoded_packet) or 0
        except (ValueError, RecursionError):
            # Not JSON, nested too deeply, or with absurdly long numbers. Packets other than events may disconnect.
            if self.packet_type not in (packet.EVENT, packet.BINARY_EVENT):
                raise
            self.packet_type, attachments, unreadable = packet.EVENT, 0, True
        if attachments > MAX_ATTACHMENTS:
            raise ValueError("too many attachments")
        if self.packet_type in (packet.EVENT, packet.BINARY_EVENT):
            data = self.data
            if unreadable or not isinstance(data, list) or not data or not isinstance(data[0], str):
                self.packet_type, attachments, data = packet.EVENT, 0, [UNREADABLE]
            elif data[0] in RESERVED:
                data = [UNREADABLE]
            self.data = [*data, AckWanted(self.id is not None)]
        return attachments
