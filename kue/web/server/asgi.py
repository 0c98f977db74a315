"""Adapt a WSGI application to ASGI, including WebSockets.

Each request, and each WebSocket for its lifetime, is handled in a thread. Existing adapters do not support WebSockets,
and their threads outlive a client that has disconnected.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import CancelledError, Executor, Future
from typing import Any
from urllib.parse import unquote_to_bytes

from kue.concurrency import green

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Scope = MutableMapping[str, Any]

#: In the environ of a WebSocket's handshake: the WebSocket.
WEB_SOCKET = "kue.web_socket"
#: In the scope of our own server: the connection, for closing it immediately.
TRANSPORT = "kue.transport"

#: In the scope: additional values for the environ.
MORE_ENVIRON = "kue.environ"

#: Maximum number of outgoing messages of a WebSocket, besides those queued by Engine.IO.
UNSENT_MAX = 16
#: Interval of checking whether a WebSocket with a blocked send was closed, seconds.
LOOK_S = 1.0
#: Timeout for the last messages of a WebSocket, seconds.
FINISH_S = 5.0

#: Timeout for each part of a body, seconds.
BODY_S = 60.0


class Threads(Executor):
    """Reused daemon threads, one per concurrent call; servers limit the number of calls."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as exc:
                future.set_exception(exc)

        green.spawn(run)
        return future


_threads = Threads()


class AsgiWebSocket:
    """A WebSocket for code in a thread, with the methods that Engine.IO calls."""

    def __init__(self, receive: Receive, send: Send, transport: asyncio.Transport | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._receive, self._send, self._transport = receive, send, transport
        self._under_way: set[Future[Any]] = set()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()
        self._room = threading.Semaphore(UNSENT_MAX)
        self._sender: asyncio.Task[None] | None = None
        self.is_accepted = self.is_closed = self._says_goodbye = False

    def accept(self) -> None:
        """Finish the handshake."""
        self._call(self._begin())
        self.is_accepted = True

    async def _begin(self) -> None:
        await self._send({"type": "websocket.accept"})
        self._sender = asyncio.create_task(self._send_all())

    def wait(self) -> str | bytes | None:
        """Return the next message; None once the WebSocket is closed."""
        try:
            message = self._call(self._receive())
        except OSError:
            return None
        if message["type"] != "websocket.receive":
            self.is_closed = True
            return None
        text, data = message.get("text"), message.get("bytes")
        found: str | bytes = text if text is not None else data
        return found

    def send(self, message: str | bytes) -> None:
        """Send a message; block while the client does not read. Raises OSError once the WebSocket is closed."""
        while not self._room.acquire(timeout=LOOK_S):
            if self.is_closed:
                break
        if self.is_closed:
            raise BrokenPipeError("the WebSocket is closed")
        kind = "bytes" if isinstance(message, bytes) else "text"
        self._put({"type": "websocket.send", kind: message})

    def close(self) -> None:
        """Close the WebSocket after everything was sent."""
        if not self.is_closed:
            self.is_closed = self._says_goodbye = True
            self._put({"type": "websocket.close", "code": 1000})

    async def finish(self) -> None:
        """Wait until everything is sent, unless the client does not read."""
        if self._sender is not None:
            self.close()
            if self._says_goodbye:
                await asyncio.wait([self._sender], timeout=FINISH_S)
            self._sender.cancel()

    def _put(self, message: Message) -> None:
        try:
            self._loop.call_soon_threadsafe(self._outbox.put_nowait, message)
        except RuntimeError as exc:
            raise BrokenPipeError(f"the server has stopped: {exc}") from exc

    async def _send_all(self) -> None:
        """Send the queued messages: a thread that waited for each one would fall behind in a burst."""
        try:
            while True:
                message = await self._outbox.get()
                await self._send(message)
                if message["type"] == "websocket.close":
                    return
                self._room.release()
        except (OSError, RuntimeError):  # the client has closed it
            pass
        finally:
            self.is_closed = True

    def abort(self) -> None:
        """Close the WebSocket of a client that does not read."""
        self.is_closed = True
        for call in list(self._under_way):
            call.cancel()
        if self._transport is not None:
            self._loop.call_soon_threadsafe(self._transport.abort)

    def _call(self, what: Any) -> Any:
        if self.is_closed:
            what.close()
            raise BrokenPipeError("the WebSocket is closed")
        future = _post(what, self._loop)
        self._under_way.add(future)
        try:
            return future.result()
        except CancelledError:
            raise BrokenPipeError("the WebSocket is closed") from None
        except RuntimeError as exc:  # raised by ASGI servers for a message at the wrong time
            raise BrokenPipeError(f"the WebSocket is closed: {exc}") from exc
        finally:
            self._under_way.discard(future)


class WsgiOverAsgi:
    """The ASGI application. ``limit`` is the largest body that is read, bytes."""

    def __init__(self, app: Callable[..., Iterable[bytes]], limit: int) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a WebSocket."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._web_socket(scope, receive, send)
        else:
            raise ValueError(f"kue's pages know no ASGI scope of type {scope['type']!r}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._body(receive)
        if body is None:
            return  # the client has disconnected
        environ = build_environ(scope, body)
        loop, answer, gone = asyncio.get_running_loop(), _Answer(), threading.Event()

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        def tell(kind: str, **more: Any) -> None:
            if gone.is_set():
                raise BrokenPipeError("the client has closed the connection")
            _post(_sent(send, {"type": f"http.response.{kind}", **more}), loop).result()

        def work() -> None:
            chunks, is_started = self._app(environ, answer.start), False
            try:
                for chunk in chunks:
                    if not is_started:
                        tell("start", **answer.head)
                        is_started = True
                    if chunk:
                        tell("body", body=chunk, more_body=True)
                if not is_started:
                    tell("start", **answer.head)
                tell("body", body=b"")
            except BrokenPipeError:
                pass  # nobody receives the rest
            finally:
                getattr(chunks, "close", lambda: None)()

        watching = loop.create_task(watch())
        try:
            await loop.run_in_executor(_threads, work)
        finally:
            watching.cancel()

    async def _body(self, receive: Receive) -> bytes | None:
        """Return the body, or enough of it to see that it is too large; None if it is incomplete or takes too long."""
        body = bytearray()
        while len(body) <= self._limit:
            try:
                message = await asyncio.wait_for(receive(), BODY_S)
            except TimeoutError:
                return None
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        return bytes(body)

    async def _web_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        line = AsgiWebSocket(receive, send, scope.get(TRANSPORT))
        environ = build_environ(scope, b"")
        environ[WEB_SOCKET] = line
        answer = _Answer()

        def work() -> bytes:
            chunks = self._app(environ, answer.start)
            try:
                return b"".join(chunks)
            finally:
                getattr(chunks, "close", lambda: None)()

        body = await asyncio.get_running_loop().run_in_executor(_threads, work)
        if line.is_accepted:
            await line.finish()
        elif "websocket.http.response" in (scope.get("extensions") or {}):
            await send({"type": "websocket.http.response.start", **answer.head})
            await send({"type": "websocket.http.response.body", "body": body})
        else:
            await send({"type": "websocket.close", "code": 1008})


class _Answer:
    """The status and headers of a WSGI application's response."""

    def __init__(self) -> None:
        self.head: dict[str, Any] = {"status": 500, "headers": []}

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        # The server adds the date.
        self.head = {"status": int(status[:3]), "headers": [pair for pair in pairs if pair[0] != b"date"]}
        return _no_write


def _no_write(data: bytes) -> None:
    raise TypeError("return the body: write() is not supported")


def _post(what: Any, loop: asyncio.AbstractEventLoop) -> Future[Any]:
    """Run a coroutine on the server's loop. Raises BrokenPipeError once the server has stopped."""
    try:
        return asyncio.run_coroutine_threadsafe(what, loop)
    except RuntimeError as exc:
        what.close()
        raise BrokenPipeError(f"the server has stopped: {exc}") from exc


async def _sent(send: Send, message: Message) -> None:
    await send(message)


def build_environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return the environ of a request. Header names with an underscore are omitted: they would be taken for others."""
    root = scope.get("root_path", "")
    server = scope.get("server") or ("localhost", 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "SCRIPT_NAME": root.encode().decode("latin-1"),
        "PATH_INFO": path_of(scope).decode("latin-1") or "/",
        "QUERY_STRING": scope.get("query_string", b"").decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": {"ws": "http", "wss": "https"}.get(scheme := scope.get("scheme", "http"), scheme),
        "wsgi.input": io.BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope.get("raw_path") is not None:  # not yet decoded, as gunicorn and werkzeug give it
        environ["RAW_URI"] = scope["raw_path"].decode("latin-1")
    if scope.get("client"):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = scope["client"][0], str(scope["client"][1])
    for name, value in scope.get("headers", ()):
        if b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{key}"
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
    if scope["type"] == "websocket":
        environ["HTTP_UPGRADE"], environ["HTTP_CONNECTION"] = "websocket", "Upgrade"
    return {**environ, **scope.get(MORE_ENVIRON, {})}


def path_of(scope: Scope) -> bytes:
    """Return the path below the mount point. Servers differ in whether the path includes it."""
    raw_path, root = scope.get("raw_path"), scope.get("root_path", "").encode()
    path = scope["path"].encode() if raw_path is None else unquote_to_bytes(raw_path.partition(b"?")[0])
    return path[len(root) :] if root and (path == root or path.startswith(root + b"/")) else path
