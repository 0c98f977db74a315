"""A scriptable HTTP server on loopback: each test says what happens on the wire, byte by byte if it likes."""

from __future__ import annotations

import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

SECRET = "swordfish"


@dataclass
class Request:
    """One request as it came: method, path and headers (lower case)."""

    method: str
    path: str
    headers: dict[str, str]
    number: int

    def range(self, size: int) -> tuple[int, int] | None:
        """Return (first, end) of a single byte range, or None."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if match is None:
            return None
        return int(match[1]), min(size, int(match[2]) + 1) if match[2] else size


class Wire:
    """What a script may do with one connection."""

    def __init__(self, sock: socket.socket, server: HostileServer) -> None:
        self.sock, self.server = sock, server

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.sock.sendall(data)
        self.server.sent += len(data)

    def head(self, status: str = "200 OK", headers: dict[str, str | int] | None = None, version: str = "1.1") -> None:
        """Send a status line and headers."""
        lines = [f"HTTP/{version} {status}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")

    def reset(self) -> None:
        """Break the connection off (RST)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def trickle(self, data: bytes, wait_s: float, stop: threading.Event) -> None:
        """Send one byte at a time."""
        for byte in data:
            if stop.wait(wait_s):
                return
            self.send(bytes([byte]))


Script = Callable[[Request, Wire], None]


@dataclass
class HostileServer:
    """Serves ``script`` for every request; remembers requests. Use as a context manager."""

    script: Script
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    connections: int = 0

    def __post_init__(self) -> None:
        self.stop = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def url(self, path: str = "/file.bin", host: str = "127.0.0.1") -> str:
        """Return a URL of this server."""
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{path}"

    @property
    def allow(self) -> str:
        """The entry that opens this server alone."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> HostileServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for thread in self._threads:
            thread.join(3)

    def _accept(self) -> None:
        while not self.stop.is_set():
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(10)
        try:
            if self.tls is not None:
                # The handshake apart: if it fails, the wrapped socket is the one to close.
                sock = self.tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                sock.do_handshake()
            data = b""
            while b"\r\n\r\n" not in data:
                piece = sock.recv(65536)
                if not piece:
                    return
                data += piece
            lines = data.split(b"\r\n\r\n", 1)[0].decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            with self._lock:
                request = Request(method, path, headers, len(self.requests))
                self.requests.append(request)
            self.script(request, Wire(sock, self))
        except OSError:
            pass  # the client went away, which is often what a test wants
        except Exception as exc:
            self.errors.append(exc)
        finally:
            try:
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            sock.close()


def content(size: int, seed: int = 1) -> bytes:
    """Return bytes that look random and are always the same."""
    block = random.Random(seed).randbytes(1 << 16)
    return (block * (size // len(block) + 1))[:size]


def good(data: bytes, etag: str | None = '"v1"', **headers: str | int) -> Script:
    """Return a script that serves ``data`` properly, with ranges and If-Range."""

    def script(request: Request, wire: Wire) -> None:
        send_good(request, wire, data, etag, headers=headers)

    return script


def send_good(
    request: Request,
    wire: Wire,
    data: bytes,
    etag: str | None = '"v1"',
    *,
    stop_after: int | None = None,
    rate: float | None = None,
    headers: dict[str, str | int] | None = None,
) -> None:
    """Answer one request properly; ``stop_after`` bytes of the body close early, ``rate`` slows it (bytes a second)."""
    sent: dict[str, str | int] = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if etag is not None:
        sent["ETag"] = etag
    sent.update({name.replace("_", "-"): value for name, value in (headers or {}).items()})
    span = request.range(len(data))
    if span is not None and request.headers.get("if-range") in (None, etag):
        first, end = span
        if first >= len(data):
            wire.head("416 Range Not Satisfiable", {**sent, "Content-Range": f"bytes */{len(data)}"})
            return
        wire.head(
            "206 Partial Content",
            {**sent, "Content-Range": f"bytes {first}-{end - 1}/{len(data)}", "Content-Length": end - first},
        )
        body = data[first:end]
    else:
        wire.head("200 OK", {**sent, "Content-Length": len(data)})
        body = data
    body = body if stop_after is None else body[:stop_after]
    if rate is None:
        wire.send(body)
        return
    step = max(1, int(rate / 50))
    for at in range(0, len(body), step):
        wire.send(body[at : at + step])
        if wire.server.stop.wait(step / rate):
            return


class FakeJob:
    """What a handler sees of a job, with everything it was told kept in lists."""

    def __init__(self, url: str, job_id: int = 1, **data: object) -> None:
        self.id = job_id
        self.data: dict[str, object] = {"title": "t", "url": url, **data}
        self.created_at = 1_700_000_000_000
        self.lines: list[str] = []
        self.events: list[tuple[float, int, int, dict[str, object]]] = []
        self.on_progress: Callable[[FakeJob], None] | None = None

    def log(self, message: str, *args: object) -> None:
        """Keep a line."""
        self.lines.append(message % args if args else message)

    def progress(self, complete: int, total: int, data: object = None) -> None:
        """Keep an event."""
        assert isinstance(data, dict)
        self.events.append((time.monotonic(), complete, total, data))
        if self.on_progress is not None:
            self.on_progress(self)
