"""A client that does not read is cut off at a bound, and the others do not notice. Over real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import simple_websocket

from kue.web.live import slow_clients
from tests.support import wait_until
from tests.support.web_socket import WebSocket


def connect(url: str, *said: str) -> Any:
    """Open a Socket.IO connection by hand, and say something on it."""
    client = WebSocket(f"{url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket")
    assert client.receive(timeout=20).startswith("0")
    client.send("40")
    assert client.receive(timeout=20).startswith("40")
    for each in said:
        client.send(each)
    return client


def deafen(url: str, *said: str) -> socket.socket:
    """Open a Socket.IO connection, and read nothing but the beginning of the first answer."""
    host, port = url.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect((host, int(port)))
    raw.sendall(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %b:%b\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        % (host.encode(), port.encode())
    )
    raw.settimeout(20)
    assert raw.recv(20).startswith(b"HTTP/1.1 101")
    for each in ("40", *said):
        payload = each.encode()
        raw.sendall(bytes([0x81, 0x80 | len(payload)]) + b"\0\0\0\0" + payload)
    return raw


def read_all(client: Any, heard: list[str]) -> None:
    """Keep what comes until the connection is closed."""
    with contextlib.suppress(simple_websocket.ConnectionClosed):
        while True:
            heard.append(client.receive())


@pytest.mark.slow
@pytest.mark.parametrize("said", [(), ('420["watch",{}]',)], ids=["plain", "page"])
def test_a_client_that_does_not_read_is_disconnected(
    make_site: Callable[..., Any], queue: Any, monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...]
) -> None:
    monkeypatch.setattr(slow_clients, *(("PAGE_BACKLOG", 10) if said else ("PLAIN_BACKLOG", 40)))
    site = make_site(listen=True, send_buffer=4096)
    deaf, other = deafen(site.url, *said), connect(site.url)
    heard: list[str] = []
    reader = threading.Thread(target=read_all, args=(other, heard))
    reader.start()
    job = queue.create("t", {"title": "x" * 100}).save()
    queue.set_state(job.id, "active")
    # Pages get frames with all of these; for a plain client they would be a burst of events
    more = 300 if said else 0
    jobs = queue.create_many([{"type": "t", "data": {"url": "http://x/" + "y" * 300}} for _ in range(more)])
    with contextlib.closing(deaf):
        deadline = time.monotonic() + 20
        while site.monitor.slow_clients.dropped == 0 and time.monotonic() < deadline:
            if said:
                site.monitor.relay.touch([each.id for each in jobs])
            else:
                job.progress(1, 2, "z" * 50_000)
            time.sleep(0.02)
        assert site.monitor.slow_clients.dropped == 1
        last = queue.create("last").save()

        wait_until(lambda: f'42["enqueue",{{"id":{last.id},"type":"last"}}]' in heard, timeout=20)
        wait_until(lambda: len(site.socketio.server.eio.sockets) == 1, timeout=5)
    other.close()
    reader.join()
