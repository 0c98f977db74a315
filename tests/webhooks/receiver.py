"""A receiver of webhooks on loopback. What it does is in the path: /ok, /500, /slow, …"""

from __future__ import annotations

import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from standardwebhooks import Webhook as Verifier

#: Seconds for which a slow receiver holds a connection, unless the test ends before.
SLOW_S = 60.0


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """Return the body if the signature is right, by the implementation of Standard Webhooks itself; else raise."""
        return Verifier(secret).verify(self.body.decode(), self.headers)


class Receiver(ThreadingHTTPServer):
    """Serves until it is closed; ``received`` has the requests in order."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.ending = threading.Event()
        #: Statuses to answer, one after another, before those of the path.
        self.statuses: list[int] = []
        self.scheme = "http"
        if tls is not None:
            self.scheme = "https"
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.ending.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are expected."""

    def url(self, path: str = "/ok") -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def of(self, path: str) -> list[Received]:
        return [each for each in self.received if each.path == path]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.received.append(Received("GET " + self.path, dict(self.headers), b""))
        self._answer(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append(Received(self.path, headers, body))
        if self.server.statuses:
            self._answer(self.server.statuses.pop(0))
            return
        act = getattr(self, "_" + self.path.strip("/").replace("-", "_"), None)
        if act is not None:
            act()
        else:
            self._answer(int(self.path.strip("/")))

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "2", "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(b"ok")

    def _ok(self) -> None:
        self._answer(200)

    def _slow(self) -> None:
        self.server.ending.wait(SLOW_S)
        self._answer(200)

    def _trickle(self) -> None:
        """A status line that comes byte by byte."""
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 10_000:
            if self.server.ending.wait(0.05):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def _huge(self) -> None:
        """Success, with a body that never ends."""
        self.send_response(200)
        self.end_headers()
        piece = b"x" * 65_536
        while not self.server.ending.is_set():
            self.wfile.write(piece)

    def _huge_head(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(20_000):
            self.wfile.write(b"X-%d: %s\r\n" % (number, b"y" * 60))

    def _closes(self) -> None:
        self.close_connection = True

    def _no_http(self) -> None:
        self.wfile.write(b"220 smtp.example.com ESMTP\r\n")
        self.close_connection = True

    def _redirect(self) -> None:
        self._answer(307, Location=self.server.url("/ok"))

    def _redirect_inside(self) -> None:
        self._answer(302, Location="http://127.0.0.1:22/")

    def _busy(self) -> None:
        self._answer(429, Retry_After="1")
