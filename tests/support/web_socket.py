"""A WebSocket client by hand."""

from __future__ import annotations

import simple_websocket


class WebSocket(simple_websocket.Client):  # type: ignore[misc]
    """A client that also reads what came together with the answer to its handshake.

    simple_websocket looks at it only when more arrives: here, at the server's ping ten seconds later.
    """

    def handshake(self) -> None:
        super().handshake()
        self.connected = self._handle_events()
