"""Write a WebSocket's queued frames with one system call, and encode a message once for all its clients.

Engine.IO sends each packet separately. With ten clients that receive every event, a busy queue would make ten system
calls per event, and encode the same message ten times. Here a frame goes into the connection's buffer, which is written
once the currently runnable green threads have had their turn. So a frame is never delayed for longer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from kue.concurrency import green

if TYPE_CHECKING:
    from flask_socketio import SocketIO

#: Maximum number of buffered bytes per connection; then its sender blocks, and packets wait in Engine.IO's queue.
BUFFER_MAX = 64 * 1024
#: Longest message, in characters, whose frame is cached for other clients.
SHARED_MAX = 4096
#: Number of cached frames: about as many as one turn of the relay produces.
SHARED_FRAMES = 1024
#: First byte of a final text frame (RFC 6455, section 5.2).
FINAL_TEXT = 0x81


def text_frame(message: str) -> bytes:
    """Return an unmasked text frame, as servers send it."""
    payload = message.encode()
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", FINAL_TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", FINAL_TEXT, 126, size) + payload
    return struct.pack("!BBQ", FINAL_TEXT, 127, size) + payload


_shared_frame = lru_cache(SHARED_FRAMES)(text_frame)


class FrameWriter:
    """One of eventlet's WebSockets, with an output buffer."""

    def __init__(self, web_socket: Any) -> None:
        self._web_socket = web_socket
        self._frames: list[bytes] = []
        self._size = 0
        self._is_due = self._is_writing = False
        self._error: OSError | None = None

    def is_ready(self) -> bool:
        """Return whether ``put`` may be called: earlier frames are written or in the buffer, and it has room."""
        return self._size < BUFFER_MAX and not self._is_writing and not self._web_socket.extensions

    def put(self, frames: bytes) -> None:
        """Put frames into the buffer; never waits. What cannot be sent is lost with the connection."""
        self._frames.append(frames)
        self._size += len(frames)
        self._schedule()

    def send(self, message: str | bytes) -> None:
        """Send or buffer a message. Raises the OSError of an earlier one, if any."""
        if self._error is not None:
            raise self._error
        if not isinstance(message, str) or self._web_socket.extensions:  # binary, or compressed for each client
            self._write()
            self._web_socket.send(message)
            return
        frame = _shared_frame(message) if len(message) <= SHARED_MAX else text_frame(message)
        self._frames.append(frame)
        self._size += len(frame)
        if self._size >= BUFFER_MAX:
            self._write()
        else:
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_due:
            self._is_due = True
            green.spawn(self._write_due)

    def wait(self) -> Any:
        return self._web_socket.wait()

    def close(self) -> None:
        self._write_due()
        self._web_socket.close()

    def _write_due(self) -> None:
        try:
            self._write()
        except OSError as exc:
            self._error = exc  # for the sender; the reader notices the end itself

    def _write(self) -> None:
        """Write the queued frames. Blocks until they are sent, and until any earlier write has finished."""
        with self._web_socket._sendlock:  # taken while holding it, so that frames stay in order
            frames, self._frames, self._size, self._is_due = self._frames, [], 0, False
            if not frames:
                return
            self._is_writing = True
            try:
                self._web_socket.socket.sendall(b"".join(frames))
            finally:
                self._is_writing = False


def write_together(socketio: SocketIO) -> None:
    """Let the WebSockets of a Socket.IO server with green threads write several frames at once."""
    engine = socketio.server.eio
    usual = engine._async["websocket"]

    def web_socket(handler: Callable[[Any], Any], server: Any) -> Any:
        def with_writer(each: Any) -> Any:
            writer = FrameWriter(each)
            connection = getattr(handler, "__self__", None)  # Engine.IO's object for the client
            if connection is not None:
                connection.frame_writer = writer
            return handler(writer)

        return usual(with_writer, server)

    engine._async = {**engine._async, "websocket": web_socket}
