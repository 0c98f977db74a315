"""Proxies for tests: each runs a handshake, then passes bytes to and fro."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def relay(
    handshake: Callable[[socket.socket], tuple[str, int] | None], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Run a proxy: ``handshake`` reads a client's wish and returns where to connect. Yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            if tls is not None:
                client = tls.wrap_socket(client, server_side=True)
            target = handshake(client)
            if target is None:
                return
            with client, socket.create_connection(target, timeout=5) as server:
                client.settimeout(5)
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join(5)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                thread = threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True)
                threads.append(thread)
                thread.start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(3)


def connect_proxy(seen: list[str], where: Callable[[str], tuple[str, int]]) -> Callable[[socket.socket], Any]:
    """Return the handshake of an HTTP proxy that knows CONNECT."""

    def handshake(client: socket.socket) -> tuple[str, int]:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        seen.append(head.decode())
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return where(head.decode().split(" ")[1])

    return handshake


def socks_proxy(seen: list[Any], where: Callable[[str], tuple[str, int]]) -> Callable[[socket.socket], Any]:
    """Return the handshake of a SOCKS5 proxy with a user and a password."""

    def handshake(client: socket.socket) -> tuple[str, int]:
        client.recv(65536)
        client.sendall(b"\x05\x02")
        seen.append(client.recv(65536))
        client.sendall(b"\x01\x00")
        wish = client.recv(65536)
        host = wish[5 : 5 + wish[4]].decode() if wish[3] == 3 else socket.inet_ntoa(wish[4:8])
        seen.append((wish[3], host))
        client.sendall(b"\x05\x00\x00\x01\0\0\0\0\0\0")
        return where(host)

    return handshake


def resolving(**ports: int) -> Callable[..., Any]:
    """Return a resolver that leads every name to 127.0.0.1 and ports 80 and 443 to those given."""

    def resolve(host: str, port: int, *_: object) -> Any:
        real = {80: ports.get("plain"), 443: ports.get("tls")}.get(port) or port
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", real))]

    return resolve
