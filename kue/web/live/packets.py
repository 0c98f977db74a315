"""Decode Socket.IO packets so that one of our handlers can answer whatever arrives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from socketio import packet

#: The name that an event nobody could read is handled under. No client can send it: it holds a NUL.
UNREADABLE = "\0unreadable"

#: Names that python-socketio calls by itself. A client that sends one as an event must not reach those handlers.
RESERVED = frozenset({"connect", "disconnect", "connect_error", "*"})

MAX_ATTACHMENTS = 4


@dataclass(frozen=True, slots=True)
class AckWanted:
    """Last argument of every event: whether its sender waits for an acknowledgement.

    python-socketio sends back what a handler returns if an acknowledgement was asked for, and does not tell
    the handler. The contract answers errors in one of two ways, depending on that.
    """

    value: bool


class ClientPacket(packet.Packet):  # type: ignore[misc]
    """A packet that, decoded, always holds ``[name, *args, AckWanted]`` if it is an event."""

    def decode(self, encoded_packet: Any) -> int:
        """Decode, and turn events that are malformed into an ``UNREADABLE`` one instead of ending the connection."""
        unreadable = False
        self.packet_type: int
        self.data: Any
        try:
            attachments = super().decode(encoded_packet) or 0
        except (ValueError, RecursionError):
            # Not JSON, nested beyond reason, or numbers of absurd length. Anything but an event may end the connection.
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
