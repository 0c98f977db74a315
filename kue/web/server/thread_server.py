"""The web server for OS threads: uvicorn handles the connections, threads the requests.

So idle connections, slow heads and slow bodies occupy no thread. A WebSocket or a long poll has one for its
lifetime.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from kue.concurrency import green
from kue.web.server.asgi import TRANSPORT, WsgiOverAsgi
from kue.web.server.capacity import LIVE_SHARE, connections_max, live_share
from kue.web.server.strict_h11 import make_strict

#: Maximum number of threads for WebSockets and long polls.
LIVE_MAX = 1_000
#: Timeout for the head of a request, including idle time before it, seconds.
HEAD_S = 75.0
#: Grace period of WebSockets and requests at shutdown, seconds.
GRACE_S = 2
#: Connections accepted per iteration of the loop. The rest wait in the backlog: they would use up the descriptors
#: needed by files and Redis before any of them could be closed.
ACCEPTED_AT_ONCE = 8
#: Largest body and largest message, bytes; the application has smaller limits for some paths.
MAX_BYTES = 4 * 1024 * 1024


class _Http(H11Protocol):
    """uvicorn's protocol, but strict, with a timeout for the head of a request and a limit of connections."""

    max_connections = 0
    _head_timer: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        make_strict(self.conn)
        self._await_head()
        if len(self.connections) > self.max_connections:
            idle = [each for each in self.connections if isinstance(each, _Http) and each._is_awaited()]
            longest = min(idle, key=lambda each: each._since, default=self)
            self.connections.discard(longest)  # it is closed later in this iteration; none is chosen twice
            longest.transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_wait()

    def eof_received(self) -> None:
        if self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.SEND_RESPONSE:
            self.send_400_response("The body is shorter than its declared length.")

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._end_wait()
        self._since = self.loop.time()
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _is_awaited(self) -> bool:
        """Return whether the server waits for the client: for the rest of a request, or for it to read the response."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY) or self.flow.write_paused

    def _end_wait(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _WebSocket(WSProtocol):
    """uvicorn's protocol; the application can also close connections whose clients do not read."""

    async def run_asgi(self) -> None:
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required]
        await super().run_asgi()


class _Server(uvicorn.Server):
    """uvicorn's server, with our backlog."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(green.BACKLOG)


class ThreadServer:
    """Serves a WSGI application on a listening socket, until it is stopped."""

    def __init__(self, sock: socket.socket, app: Any, max_connections: int | None = None) -> None:
        self._socket = sock
        most = max_connections or connections_max()
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # any client may send invalid HTTP
        http = type("Http", (_Http,), {"max_connections": most})
        self._server = _Server(
            uvicorn.Config(
                WsgiOverAsgi(live_share(app, min(LIVE_MAX, most * LIVE_SHARE)), MAX_BYTES),
                http=http,
                ws=_WebSocket,
                ws_max_size=MAX_BYTES,
                ws_ping_interval=None,  # Engine.IO has its own
                loop="asyncio",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=ACCEPTED_AT_ONCE,
                timeout_keep_alive=int(HEAD_S),
                timeout_graceful_shutdown=GRACE_S,
            )
        )

    def run(self) -> None:
        """Serve until ``stop`` is called."""
        self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Accept no more connections, and close the WebSockets."""
        self._server.should_exit = True
