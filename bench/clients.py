"""Many clients on one web process: ``python -m bench.clients --clients 500 --rate 200 --seconds 60``.

Starts a server, ``app.py`` without workers, and a program that makes and works jobs at a steady rate. Pages and plain
clients connect over WebSocket from this process. The latency of a page is from ``updated_at`` of a row, by Redis, to
its arrival; a plain client's from the event on the channel to its own. One page stops reading, to see that it costs the
others nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import redis

from bench.harness.server import Server, free_port

ROOT = Path(__file__).resolve().parent.parent
#: One frame of so many is read as JSON: the clients share a processor with the server they measure.
READ_EACH = 10
LOAD = """
import sys, threading, time
import kue
url, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
queue = kue.create_queue(url)
queue.process("bench", 20, lambda job: job.id)
begun, made = time.monotonic(), 0
while (now := time.monotonic() - begun) < seconds:
    due = int(rate * now) - made
    if due > 0:
        queue.create_many([{"type": "bench", "data": {"title": f"job {made + n}"}} for n in range(due)])
        made += due
    time.sleep(0.01)
queue.shutdown(10)
print(made)
"""


class Client(asyncio.Protocol):
    """One WebSocket connection that speaks as much Socket.IO as it needs."""

    def __init__(self, bench: Bench, page: bool, frozen: bool = False) -> None:
        self.bench, self.page, self.frozen = bench, page, frozen
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended = False
        self.frames = 0
        self._buffer = b""
        self._upgraded = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{self.bench.port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, end, self._buffer = self._buffer.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if b" 101 " not in head.partition(b"\r\n")[0]:
                self.transport.abort()
                return
            self._upgraded = True
        while (size := self._frame()) is not None:
            self._buffer = self._buffer[size:]

    def _frame(self) -> int | None:
        """Take one frame off the buffer; return its size, None if it is not there yet."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, at = buffer[1] & 127, 2
        if length >= 126:
            at += 2 if length == 126 else 8
            if len(buffer) < at:
                return None
            (length,) = struct.unpack(">H" if at == 4 else ">Q", buffer[2:at])
        if len(buffer) < at + length:
            return None
        if buffer[0] & 15 == 1:
            self._text(buffer[at : at + length])
        return at + length

    def _say(self, text: str) -> None:
        data, mask = text.encode(), os.urandom(4)
        # All that a client says here is shorter than 126 bytes, so its length is one byte.
        head = struct.pack("!BB", 0x81, 0x80 | len(data))
        self.transport.write(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))

    def _text(self, text: bytes) -> None:
        if text == b"2":
            self._say("3")
        elif text.startswith(b"0"):
            self._say("40")
        elif text.startswith(b"40"):
            if self.page:
                self._say('420["watch",{}]')
            else:
                self.ready.set_result(None)
        elif text.startswith(b"430"):
            self.ready.set_result(None)
            if self.frozen:
                self.transport.pause_reading()
        elif text.startswith(b"42"):
            self.frames += 1
            if (self.frames + id(self) // 64) % READ_EACH == 0 or not self.page:
                self.bench.heard(text, self.page)


class Bench:
    """One run."""

    def __init__(self, options: argparse.Namespace, port: int) -> None:
        self.options, self.port = options, port
        self.page_ms: list[float] = []
        self.plain_ms: list[float] = []
        self.said: dict[int, float] = {}
        self.measuring = False

    def heard(self, text: bytes, page: bool) -> None:
        """Note how late the news of a frame are."""
        now = time.time()
        if not self.measuring:
            return
        if page:
            frame = json.loads(text[2:])[1]
            ended = [row["updated_at"] for row in frame.get("rows", ()) if row["state"] == "complete"]
            self.page_ms += [now * 1000 - at for at in ended]
        else:
            match = re.match(rb'42\["complete",\{"id":(\d+)', text)
            if match and int(match[1]) in self.said:
                self.plain_ms.append((now - self.said[int(match[1])]) * 1000)

    def listen(self, url: str) -> None:
        """Note when Redis says that a job is complete; in a thread of its own."""
        channel = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
        channel.subscribe("q:events")
        with contextlib.suppress(redis.RedisError):  # until the server ends
            for message in channel.listen():
                match = re.match(rb'\{"id":(\d+),"event":"complete"', message["data"])
                if match:
                    self.said[int(match[1])] = time.time()

    def _hub_late_ms(self) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            return float(re.findall(rb"^kue_hub_lag_seconds ([0-9.e-]+)", answer.read(), re.MULTILINE)[0]) * 1000

    async def run(self, url: str, pid: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        clients: list[Client] = []
        options = self.options
        kinds = [(True, False)] * options.clients + [(False, False)] * options.plain + [(True, True)] * options.frozen
        for kind in kinds:
            _, client = await loop.create_connection(partial(Client, self, *kind), "127.0.0.1", self.port)
            await asyncio.wait_for(client.ready, 30)
            clients.append(client)
        threading.Thread(target=self.listen, args=(url,), daemon=True).start()
        memory = [_rss_mb(pid)]
        command = [sys.executable, "-c", LOAD, url, str(self.options.rate), str(self.options.seconds)]
        load = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
        self.measuring = True
        begun, cpu = time.monotonic(), _cpu_s(pid)
        while time.monotonic() - begun < self.options.seconds:
            await asyncio.sleep(1)
            memory.append(_rss_mb(pid))
        cpu = (_cpu_s(pid) - cpu) / (time.monotonic() - begun)
        late = await loop.run_in_executor(None, self._hub_late_ms)
        told, _ = await asyncio.wait_for(load.communicate(), 60)
        reading = [client for client in clients if not client.frozen]
        return {
            "jobs": int(told or 0),
            "frames a page": sum(client.frames for client in reading if client.page) // max(1, self.options.clients),
            "lost": sum(client.ended for client in reading),
            "page ms": _spread(self.page_ms),
            "plain ms": _spread(self.plain_ms),
            "server MB": f"{memory[0]:.0f} before, {max(memory):.0f} at most, {memory[-1]:.0f} at the end",
            "server CPU": f"{cpu:.0%}",
            "its hub": f"{late:.0f} ms late at most, in the last 15 s",
        }


def _spread(values: list[float]) -> str:
    if not values:
        return "nothing heard"
    kept = sorted(values)
    at = [kept[min(len(kept) - 1, int(part * len(kept)))] for part in (0.5, 0.95, 0.99)]
    return "median {:.0f}, p95 {:.0f}, p99 {:.0f}".format(*at) + f", most {kept[-1]:.0f} ({len(kept):,} seen)"


def _rss_mb(pid: int) -> float:
    return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) / 1024


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.clients", description=__doc__)
    for name, default, text in (
        ("clients", 500, "pages"),
        ("plain", 10, "clients that get each event by itself"),
        ("frozen", 1, "pages that do not read"),
        ("rate", 200, "jobs a second; each is three events"),
        ("seconds", 60, "of load"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"{text} ({default})")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = parse(argv)
    with Server() as server, web_program(server.url) as (port, pid):
        told = asyncio.run(Bench(options, port).run(server.url, pid))
    for name, value in told.items():
        print(f"{name:14} {value}")
    return 1 if told["lost"] else 0


@contextlib.contextmanager
def web_program(redis_url: str) -> Iterator[tuple[int, int]]:
    """Run ``app.py`` without workers; yield its port and process id."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        environ = {**os.environ, "REDIS_URL": redis_url, "PORT": str(port), "KUE_WORKERS": "0", "DOWNLOAD_DIR": folder,
                   "KUE_DATA_DIR": folder}  # fmt: skip
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        program = subprocess.Popen([sys.executable, str(ROOT / "app.py")], cwd=ROOT, env=environ, **quiet)
        try:
            _wait_for(f"http://127.0.0.1:{port}/healthz")
            yield port, program.pid
        finally:
            program.kill()
            program.wait(timeout=20)


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
