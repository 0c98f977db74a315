"""The green web server: eventlet's protocol, with an accept loop that survives running out of descriptors.

A process has a limited number of file descriptors, and every idle connection uses one. So connections are limited
to fewer than that, and idle ones are closed first. The rest is for Redis, files and downloads.
"""

from __future__ import annotations

import errno
import itertools
import logging
import socket
import time
from contextlib import suppress
from typing import Any

import eventlet
from eventlet import wsgi

from kue.concurrency import green
from kue.web.server.capacity import LIVE_SHARE, connections_max, live_share
from kue.web.server.connection import Answer, Connection
from kue.web.server.framing import CHUNK_LINE_MAX, BadFraming, check_head, chunk_size

log = logging.getLogger("kue.web")

#: Timeout for the head of a request, including idle time before it, seconds.
HEAD_S = 75.0
#: Timeout of one read or write on a connection, seconds.
SOCKET_S = 60.0
#: Retry interval while accepting fails, seconds.
PAUSE_S = 0.1
#: Seconds that a client may continue sending after its response, before it is disconnected.
LINGER_S = 5.0
#: Maximum number of unread bytes of a body that are discarded to keep the connection.
DISCARD_MAX = 64 * 1024

#: The listening socket has been closed.
_CLOSED = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}
#: Errors of exhausted resources, which are temporary.
_SHORT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Body(wsgi.Input):  # type: ignore[misc]
    """A request's body; a chunked one is read strictly."""

    holder: Connection
    _broken = False
    chunk_length: int
    position: int

    def _do_read(self, reader: Any, length: int | None = None) -> bytes:
        begin = self.position
        with self.holder.reading():
            data: bytes = super()._do_read(reader, length)
        left = self.content_length - begin
        wanted = left if length is None or length < 0 else min(left, length)
        if len(data) < wanted and (reader == self.rfile.read or not data):
            raise BadFraming("the body is shorter than its Content-Length")
        return data

    def _chunked_read(self, rfile: Any, length: int | None = None, use_readline: bool = False) -> bytes:
        if self.should_send_hundred_continue:
            self.send_hundred_continue_response()
            self.is_hundred_continue_response_sent = True
        if self._broken:
            raise BadFraming("the body could not be read")
        try:
            with self.holder.reading():
                return self._chunks(rfile, None if length is None or length < 0 else length, use_readline)
        except BadFraming:
            self._broken = True
            raise

    def _chunks(self, rfile: Any, length: int | None, use_readline: bool) -> bytes:
        parts: list[bytes] = []
        while self.chunk_length != 0 and length != 0:
            if self.chunk_length < 0:  # between two chunks
                self.chunk_length, self.position = chunk_size(rfile.readline(CHUNK_LINE_MAX)), 0
                if self.chunk_length == 0:
                    self._discard_trailers(rfile)
                continue
            left = self.chunk_length - self.position
            wanted = left if length is None else min(left, length)
            data = rfile.readline(wanted) if use_readline else rfile.read(wanted)
            if not data:
                raise BadFraming("the body ends in the middle of a chunk")
            parts.append(data)
            self.position += len(data)
            if self.position == self.chunk_length:
                if rfile.read(2) != b"\r\n":
                    raise BadFraming("a chunk that is longer than its declared size")
                self.chunk_length = -1
            if length is not None:
                length -= len(data)
            if use_readline and data.endswith(b"\n"):
                break
        return b"".join(parts)

    def _discard_trailers(self, rfile: Any) -> None:
        for _ in range(100):
            line = rfile.readline(CHUNK_LINE_MAX)
            if line == b"\r\n":
                return
            if not line.endswith(b"\r\n"):
                break
        raise BadFraming("a malformed end of the body")

    def discard(self, buffer_size: int = 16 << 10) -> None:
        """Discard a small unread rest of the body; close the connection if it is large."""
        left = DISCARD_MAX
        try:
            while data := self.read(buffer_size):
                left -= len(data)
                if left < 0:
                    raise OSError("a request body was sent that the page does not read")
        except BadFraming as exc:
            raise wsgi.ChunkReadError(str(exc)) from exc


class _Head(wsgi.FileObjectForHeaders):  # type: ignore[misc]
    """Keeps the header lines as received."""

    def __init__(self, fp: Any) -> None:
        super().__init__(fp)
        self.lines: list[bytes] = []

    def readline(self, size: int = -1) -> bytes:
        line: bytes = super().readline(size)
        if line not in (b"\r\n", b"\n", b""):
            self.lines.append(line)
        elif line == b"\n":
            raise BadFraming("a line that does not end with CRLF")
        return line


class Protocol(wsgi.HttpProtocol):  # type: ignore[misc]
    """Eventlet's protocol, but strict about framing."""

    rfile: Any
    wfile: Any

    def setup(self) -> None:
        super().setup()
        self._reader, self._writer = self.rfile, self.wfile
        self.wfile = Answer(self._writer, self.conn_state[3])

    def finish(self) -> None:
        """Close everything that holds the descriptor: an error could keep it open until the next garbage collection."""
        self.conn_state[3].busy = False
        try:
            with suppress(OSError):  # the client has disconnected
                self._writer.close()
            _linger(self.connection)
        finally:
            with suppress(OSError):
                self._reader.close()
            self.connection.close()

    def handle_one_request(self) -> None:
        connection: Connection = self.conn_state[3]
        connection.busy, connection.since = False, time.monotonic()
        head = eventlet.Timeout(HEAD_S)
        self._head_timeout = head
        try:
            super().handle_one_request()
        except eventlet.Timeout as exc:
            if exc is not head:
                raise
            self.close_connection = 1
        except BadFraming as exc:
            self._refuse(str(exc))
        finally:
            head.cancel()

    def parse_request(self) -> bool:
        self.rfile = kept = _Head(self.rfile.fp)
        if not super().parse_request():
            return False
        self._head_timeout.cancel()
        check_head(self.raw_requestline, kept.lines)
        return True

    def handle_one_response(self) -> None:
        self.conn_state[3].busy = True
        super().handle_one_response()

    def formalize_key_naming(self, name: str) -> str | None:
        """Omit names with an underscore, like nginx: in the environ they would be taken for other headers."""
        return None if "_" in name else name.upper().replace("-", "_")

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        old = environ["wsgi.input"]
        environ["wsgi.input"] = environ["eventlet.input"] = body = Body(
            old.rfile, old.content_length, self.connection, wfile=old.wfile, wfile_line=old.wfile_line,
            chunked_input=old.chunked_input,
        )  # fmt: skip
        body.holder = self.conn_state[3]
        # So that the body is read to its end, although no header has its length.
        environ["wsgi.input_terminated"] = old.chunked_input
        return environ

    def log_message(self, format: str, *args: object) -> None:
        """Log little about invalid HTTP: any client may send it."""
        log.debug("%s: " + format, self.client_address[0], *args)

    def _refuse(self, why: str) -> None:
        self.close_connection = 1
        text = f"400 Bad Request: {why}\n".encode()
        self.wfile.write(
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(text), text)
        )


class WsgiServer:
    """Serves a WSGI application on a listening socket until it is closed."""

    def __init__(self, sock: Any, app: Any, max_connections: int | None = None) -> None:
        self._socket = sock
        self._max = max_connections or connections_max()
        self._connections: dict[int, Connection] = {}
        self._numbers = itertools.count()
        self._short_since: float | None = None
        self._server = wsgi.Server(
            sock, sock.getsockname(), live_share(app, self._max * LIVE_SHARE), logging.getLogger("kue.web.wsgi"),
            protocol=Protocol, log_output=False, debug=False, socket_timeout=SOCKET_S,
        )  # fmt: skip

    def run(self) -> None:
        """Accept connections. Waits if descriptors or memory run out; only other errors end it."""
        while True:
            try:
                sock, address = self._socket.accept()
            except OSError as exc:
                if exc.errno in _CLOSED or self._socket.fileno() < 0:
                    return
                if exc.errno in _SHORT:
                    self._make_room(exc)
                # Otherwise the client or its network has disconnected: continue with the next one.
                green.sleep(PAUSE_S if exc.errno in _SHORT else 0)
                continue
            self._short_since = None
            if len(self._connections) >= self._max and not self._close_idle():
                self._turn_away(sock)
                continue
            self._start(sock, address)

    def stop(self) -> None:
        """Accept no more connections."""
        self._socket.close()

    def _start(self, sock: Any, address: Any) -> None:
        number, connection = next(self._numbers), Connection(sock)
        self._connections[number] = connection
        sock.settimeout(SOCKET_S)

        def serve() -> None:
            try:
                self._server.process_request([address, sock, wsgi.STATE_IDLE, connection])
            except (OSError, eventlet.Timeout):
                pass  # the client has disconnected, or is too slow
            finally:
                self._connections.pop(number, None)
                sock.close()

        green.spawn(serve)

    def _close_idle(self) -> bool:
        """Close the connection that has been idle longest; return whether there was one."""
        now = time.monotonic()
        idle = [(each.since, number) for number, each in self._connections.items() if each.is_idle(now)]
        if not idle:
            return False
        self._connections.pop(min(idle)[1]).close()
        return True

    def _make_room(self, exc: OSError) -> None:
        """Descriptors or memory have run out: close idle connections, and log it once."""
        closed = sum(self._close_idle() for _ in range(max(1, len(self._connections) // 10)))
        if self._short_since is None:
            self._short_since = time.monotonic()
            log.error("Cannot accept connections: %s; closed %d idle ones and will retry", exc.strerror, closed)

    @staticmethod
    def _turn_away(sock: socket.socket) -> None:
        try:
            sock.settimeout(0)
            sock.send(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass
        sock.close()


def _linger(sock: Any) -> None:
    """Discard what a client still sends: closed immediately, it would lose the error response."""
    give_up = time.monotonic() + LINGER_S
    try:
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(LINGER_S)
        while time.monotonic() < give_up and sock.recv(64 * 1024):
            pass
    except OSError:
        pass  # disconnected
