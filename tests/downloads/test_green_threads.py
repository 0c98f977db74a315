"""Under eventlet: other green threads continue while a download runs at full speed, and memory stays flat."""

from __future__ import annotations

import functools
import gzip
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.downloads.conftest import finished
from tests.downloads.hostile import HostileServer, Request, Wire, content
from tests.downloads.proxies import relay, socks_proxy
from tests.support import ROOT

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import json, resource, threading, time
sys.path.insert(0, sys.argv[1])
from kue.downloads import DownloadHandler
from tests.downloads.hostile import FakeJob
worst, stop = [0.0], []
def pulse():
    last = time.monotonic()
    while not stop:
        time.sleep(0.001)
        now = time.monotonic()
        worst[0] = max(worst[0], now - last)
        last = now
handler = DownloadHandler(sys.argv[2], allow=["127.0.0.1"], min_free=0)
handler(FakeJob(sys.argv[3], 1))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
thread = threading.Thread(target=pulse)
thread.start()
result = handler(FakeJob(sys.argv[4], 2))
stop.append(1)
thread.join()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"bytes": result["bytes"], "worst_s": worst[0], "grown_kib": grown}))
"""


@pytest.mark.serial
def test_the_hub_stays_alive_and_memory_flat(folder: Path) -> None:
    block, count = content(1 << 20), 200

    def script(request: Request, wire: Wire) -> None:
        wire.head("200 OK", {"Content-Length": 10 if request.path == "/small" else count << 20})
        for _ in range(0 if request.path == "/small" else count):
            wire.send(block)
        wire.send(bytes(10))

    with HostileServer(script) as server:
        command = [sys.executable, "-c", PROGRAM, str(ROOT), str(folder), server.url("/small"), server.url("/big")]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True)
    told = json.loads(done.stdout)
    assert told["bytes"] == count << 20
    assert told["grown_kib"] < 20_000
    # Far more than it takes on a quiet machine, far less than a starved hub.
    assert told["worst_s"] < 0.25


CROWD = """
import sys, warnings
warnings.simplefilter("ignore")
import eventlet
eventlet.monkey_patch()
import json, os, resource, threading, time
sys.path.insert(0, sys.argv[1])
from kue.downloads import DownloadError, DownloadFailed, DownloadHandler, Timeouts
from tests.downloads.hostile import FakeJob
timeouts = Timeouts(connect_s=1.5, headers_s=1.5, idle_s=1, floor_bytes=2000, floor_s=1.5)
handler = DownloadHandler(sys.argv[2], allow=["127.0.0.1"], min_free=0, max_bytes=40_000_000, timeouts=timeouts)
worst, told, stop = [0.0], {}, []
def pulse():
    last = time.monotonic()
    while not stop:
        time.sleep(0.001)
        now = time.monotonic()
        worst[0] = max(worst[0], now - last)
        last = now
def run(number, url):
    try:
        told[url] = handler(FakeJob(url.partition(" ")[0], number, proxy=url.partition(" ")[2]))["bytes"]
    except DownloadError as exc:
        told[url] = "DownloadFailed" if isinstance(exc, DownloadFailed) else "DownloadError"
urls = sys.argv[3:]
run(0, urls[-3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pulsing = threading.Thread(target=pulse)
pulsing.start()
threads = [threading.Thread(target=run, args=pair) for pair in enumerate(urls, 1)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
stop.append(1)
pulsing.join()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"told": told, "worst_s": worst[0], "grown_kib": grown}))
"""


def crowd(request: Request, wire: Wire) -> None:
    """Be another kind of bad server for each path."""
    kind, block, stop = request.path[1:], bytes(1 << 16), wire.server.stop
    if kind == "loop":
        wire.head("302 Found", {"Location": "/loop", "Content-Length": 0})
    elif kind == "metadata":
        wire.head("302 Found", {"Location": "http://169.254.169.254/latest/", "Content-Length": 0})
    elif kind in ("header", "body", "chunks"):
        start = {
            "header": b"HTTP/1.1 200 OK\r\nX: ",
            "body": b"HTTP/1.0 200 OK\r\n\r\n",
            "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        }[kind]
        wire.send(start)
        while not stop.is_set():
            wire.send(b"10000\r\n" + block + b"\r\n" if kind == "chunks" else block)
    elif kind in ("trickle", "silence"):
        wire.head("200 OK", {"Content-Length": 100_000})
        wire.trickle(bytes(1000) if kind == "trickle" else b"", 0.1, stop)
        stop.wait(20)
    elif kind == "bomb":
        wire.head("200 OK", {"Content-Encoding": "gzip", "Content-Length": len(bomb())})
        wire.send(bomb())
    elif kind == "cut":
        wire.head("200 OK", {"Content-Length": 2_000_000})
        wire.send(bytes(1_000_000))
    elif kind == "reset":
        wire.head("200 OK", {"Content-Length": 2_000_000})
        wire.reset()
    else:
        wire.head("200 OK", {"Content-Length": 10})
        wire.send(bytes(10))


@functools.cache
def bomb() -> bytes:
    return gzip.compress(bytes(100_000_000))


#: What becomes of each kind: the bytes of a file, or an error for good, or one that another attempt may not meet.
CROWD_ENDS: dict[str, Callable[[], int] | int | str] = {
    "loop": "DownloadFailed",
    "metadata": "DownloadFailed",
    "header": "DownloadFailed",
    "body": "DownloadFailed",
    "chunks": "DownloadFailed",
    "trickle": "DownloadError",
    "silence": "DownloadError",
    "bomb": lambda: len(bomb()),
    "cut": "DownloadError",
    "reset": "DownloadError",
    "good": 10,
    "socks": 10,
    "slow-socks": "DownloadError",
}


@pytest.mark.slow
def test_a_crowd_of_bad_servers_holds_up_nobody(folder: Path) -> None:
    def slow_handshake(sock: socket.socket) -> None:
        # The beginning of a TLS record that never comes to its end.
        with sock:
            for byte in b"\x16\x03\x03\x40\x00" + bytes(200):
                if server.stop.wait(0.2):
                    return
                try:
                    sock.sendall(bytes([byte]))
                except OSError:
                    return

    def slow_proxy(client: socket.socket) -> None:
        for byte in b"\x05\x00\x05\x00\x00\x03" + b"\xff" * 100:
            client.sendall(bytes([byte]))
            if server.stop.wait(0.2):
                return

    expected = {kind: end() if callable(end) else end for kind, end in CROWD_ENDS.items()}
    with (
        HostileServer(crowd) as server,
        relay(socks_proxy([], lambda _: ("127.0.0.1", server.port))) as proxy,
        relay(slow_proxy) as slow,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: slow_handshake(listener.accept()[0]), daemon=True)
        thread.start()
        urls = [f"https://127.0.0.1:{port}/handshake", *(server.url(f"/{kind}") for kind in CROWD_ENDS)]
        urls[-2] += f" socks5h://u:p@127.0.0.1:{proxy}"
        urls[-1] += f" socks5h://127.0.0.1:{slow}"
        command = [sys.executable, "-c", CROWD, str(ROOT), str(folder), *urls]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=90, check=True)
    thread.join(5)
    told = json.loads(done.stdout)
    ends = {url.partition(" ")[0].rsplit("/", 1)[1]: end for url, end in told["told"].items()}
    assert ends == {"handshake": "DownloadError", **expected}
    sizes = sorted(path.stat().st_size for path in finished(folder))
    assert sizes == sorted([10, 10, 10, len(bomb())])
    assert told["grown_kib"] < 30_000 and told["worst_s"] < 5  # a silent server would hold it up for 20 s
