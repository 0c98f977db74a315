"""Every plain client receives every event, in its order: over WebSocket, reading slowly, and by polling."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import simple_websocket

import kue
from tests.support import ROOT, wait_until
from tests.web.live.test_slow_client import connect, deafen

JOBS, LIMIT_S = 600, 30


@pytest.fixture(params=["1", "0"], ids=["green", "threads"])
def url(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--workers", "0"],
        env={**os.environ, "REDIS_URL": redis_url, "KUE_GREEN": request.param, "DOWNLOAD_DIR": str(tmp_path)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(f"{address}/healthz", timeout=5).status == 200)
        return False

    try:
        wait_until(answers, LIMIT_S)
        yield address
    finally:
        process.kill()
        process.wait()


class Heard:
    """The ids of the jobs that a client was told of, in their order."""

    def __init__(self) -> None:
        self.ids: list[int] = []

    def take(self, message: str) -> bool:
        """Take an Engine.IO message; return whether it is a ping, to be answered."""
        if message.startswith('42["enqueue",'):
            self.ids.append(json.loads(message[2:])[1]["id"])
        return message == "2"


def listen(client: Any, heard: Heard) -> None:
    with contextlib.suppress(simple_websocket.ConnectionClosed):
        while len(heard.ids) < JOBS:
            if heard.take(client.receive(timeout=LIMIT_S) or ""):
                client.send("3")


def read_late(raw: socket.socket, heard: Heard, go_on: threading.Event) -> None:
    """Read nothing from a WebSocket, so that much waits for it in the server, until ``go_on`` is set."""
    go_on.wait(LIMIT_S)
    raw.settimeout(LIMIT_S)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with raw, raw.makefile("rb") as file:
        while not file.readline().isspace():  # the answer to the handshake
            pass
        while len(heard.ids) < JOBS:
            size = file.read(2)[1]
            if size > 125:
                size = int.from_bytes(file.read(2 if size == 126 else 8), "big")
            if heard.take(file.read(size).decode()):
                raw.sendall(b"\x81\x81\0\0\0\x003")


def poll(url: str, heard: Heard, is_ready: threading.Event) -> None:
    """The same by polling, as where WebSockets are blocked."""
    address = f"{url}/socket.io/?EIO=4&transport=polling"

    def get(sid: str = "") -> list[str]:
        text = urllib.request.urlopen(f"{address}{sid}", timeout=LIMIT_S).read().decode()
        return str(text).split("\x1e")

    def post(message: str) -> None:
        urllib.request.urlopen(f"{address}{sid}", message.encode(), timeout=LIMIT_S).read()

    sid = "&sid=" + json.loads(get()[0][1:])["sid"]
    post("40")
    while len(heard.ids) < JOBS:
        for message in get(sid):
            if heard.take(message):
                post("3")
            if message.startswith("40"):
                is_ready.set()


@pytest.mark.slow
def test_all_receive_all_events_in_their_order(url: str, redis_url: str) -> None:
    later, polls = threading.Event(), threading.Event()
    everybody = {name: Heard() for name in ("quick", "another", "slow", "polling")}
    clients = [connect(url), connect(url)]
    threads = [
        threading.Thread(target=listen, args=(clients[0], everybody["quick"])),
        threading.Thread(target=listen, args=(clients[1], everybody["another"])),
        threading.Thread(target=read_late, args=(deafen(url), everybody["slow"], later)),
    ]
    threads.append(threading.Thread(target=poll, args=(url, everybody["polling"], polls)))
    for thread in threads:
        thread.start()
    assert polls.wait(LIMIT_S)
    with kue.create_queue(redis_url) as queue:
        jobs = queue.create_many([{"type": "t" * 1000, "data": n} for n in range(JOBS)])
    wait_until(lambda: len(everybody["quick"].ids) == JOBS, LIMIT_S)
    later.set()
    for thread in threads:
        thread.join(LIMIT_S)
    wanted = [job.id for job in jobs]
    assert [name for name, heard in everybody.items() if heard.ids != wanted] == []
    for client in clients:
        client.close()
