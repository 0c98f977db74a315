"""A TCP proxy before the server that cuts connections, lets nothing through, or swallows an answer."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable
from typing import Any

from kue.concurrency import green
from tests.support import free_port

#: True ones, also in a test whose threads are green.
socket, threading = green.original("socket"), green.original("threading")

#: Bytes taken at once.
CHUNK = 65536


class Proxy:
    """Passes connections of its own loopback port on to ``port``, each by two threads.

    ``swallow(wanted)``: the first answer after a request that ``wanted(bytes)`` accepts is thrown away and its
    connection cut, so that the caller cannot know whether its command was done.
    """

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.swallowed = threading.Event()
        self._target = port
        self._lock = threading.Lock()
        self._pairs: set[tuple[Any, Any]] = set()
        self._stalled: set[tuple[Any, Any]] = set()
        self._wanted: Callable[[bytes], bool] | None = None
        self._open = threading.Event()
        self._open.set()
        self._closing = self._refusing = False
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> int:
        """Cut every connection with a reset; return how many there were."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._end(*pair)
        return len(pairs)

    def swallow(self, wanted: Callable[[bytes], bool]) -> None:
        self.swallowed.clear()
        self._wanted = wanted

    def block(self) -> None:
        """Let nothing through any more and say nothing, as a broken network does: connections stay open."""
        self._open.clear()

    def stall(self) -> None:
        """Let nothing through the connections that are open now, until ``unblock``; new ones work."""
        with self._lock:
            self._stalled |= self._pairs

    def refuse(self) -> None:
        """Cut every new connection; those that are open stay."""
        self._refusing = True

    def accept_again(self) -> None:
        self._refusing = False

    def unblock(self) -> None:
        self._open.set()
        with self._lock:
            self._stalled.clear()

    def close(self) -> None:
        self._closing = True
        self._open.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.add((client, server))
            swallow = threading.Event()
            for way in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(*way, swallow, (client, server)), daemon=True).start()

    def _pass(
        self,
        source: Any,
        sink: Any,
        is_request: bool,
        swallow: Any,
        pair: tuple[Any, Any],
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                self._open.wait()
                while pair in self._stalled and not self._closing:
                    time.sleep(0.01)
                wanted = self._wanted
                if is_request and wanted is not None and wanted(data):
                    self._wanted = None
                    swallow.set()
                elif not is_request and swallow.is_set():
                    self.swallowed.set()
                    break
                sink.sendall(data)
        self._end(*pair)

    def _end(self, client: Any, server: Any) -> None:
        with self._lock:
            self._pairs.discard((client, server))
        for each in (client, server):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST, not FIN
                each.shutdown(socket.SHUT_RDWR)
            each.close()
