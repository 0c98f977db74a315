"""A WebSocket client by hand."""

from __future__ import annotations

from contextlib import suppress

import simple_websocket


class WebSocket(simple_websocket.Client):  # type: ignore[misc]
    """A client that also reads what came together with the answer to its handshake.

    simple_websocket looks at it only when more arrives: here, at the server's ping ten seconds later.
    """

    def handshake(self) -> None:
        super().handshake()
        self.connected = self._handle_events()

    def receive(self, timeout: float | None = None) -> str | None:
        """Return the next message: also one that came before the connection was closed."""
        try:
            return super().receive(timeout)  # type: ignore[no-any-return]
        except simple_websocket.ConnectionClosed:
            if self.input_buffer:
                return self.input_buffer.pop(0)  # type: ignore[no-any-return]
            raise

    def close(self, *reason: object) -> None:
        """Close the connection, unless the server has."""
        with suppress(simple_websocket.ConnectionClosed):
            super().close(*reason)
