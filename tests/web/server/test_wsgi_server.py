"""The real web server: few descriptors, bodies of unknown length, requests that two programs could read in two ways."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from tests.support import ROOT, free_port, require_node, require_program, wait_until

#: Few descriptors: a tenth of what is usual.
FEW = 220

#: Starts app.py; with a name, that method raises once the page is up.
APP = """
import os, sys, time, warnings
warnings.filterwarnings("ignore", message=r"\\s*Eventlet is deprecated")
if os.environ["KUE_GREEN"] == "1":
    import eventlet
    eventlet.monkey_patch()
sys.path.insert(0, {root!r})
import importlib
def fail(*args, **options):
    time.sleep(0.5)
    raise SystemExit("injected")
if len(sys.argv) > 1:
    module, name, method = sys.argv[1].split(":")
    setattr(getattr(importlib.import_module(module), name), method, fail)
    del sys.argv[1:]
import runpy
runpy.run_path({root!r} + "/app.py", run_name="__main__")
"""


class App:
    """A running ``python app.py``."""

    def __init__(self, redis_url: str, folder: Path, *words: str, **more: str) -> None:
        self.port, self.downloads = free_port(), folder / "downloads"
        own = {"KUE_GREEN": "1", "PORT": str(self.port), "REDIS_URL": redis_url, "DOWNLOAD_DIR": str(self.downloads)}
        environ = {**os.environ, **own, **more}
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", APP.format(root=str(ROOT)), *words],
                env=environ, stdout=log, stderr=log, preexec_fn=_few_descriptors,
            )  # fmt: skip
        wait_until(lambda: b"Open http" in self.log.read_bytes() or self.process.poll() is not None, 30)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def get(self, path: str) -> Any:
        return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30)

    def say(self, data: bytes) -> bytes:
        """Send bytes on a connection of their own, and return all that comes until it is closed."""
        with self.connect() as sock:
            sock.sendall(data)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
            return answer

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def _few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))


@pytest.fixture
def app(redis_url: str, redis_client: redis.Redis, tmp_path: Path) -> Iterator[App]:
    app = App(redis_url, tmp_path)
    yield app
    app.close()


@pytest.fixture(scope="module", params=["1", "0"], ids=["green", "threads"])
def page(_valkey_url: str, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Iterator[App]:
    """The app without workers, started once for all tests of what one request may be."""
    app = App(_valkey_url, tmp_path_factory.mktemp("page"), KUE_WORKERS="0", KUE_GREEN=request.param)
    yield app
    app.close()


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def websocket(app: App) -> socket.socket:
    sock = app.connect()
    sock.sendall(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    sock.recv(100)
    return sock


def silent(app: App) -> socket.socket:
    return app.connect()


def slow(app: App) -> socket.socket:
    sock = app.connect()
    sock.sendall(b"GET / HTTP/1.1\r\nHost: loc")
    return sock


def slow_body(app: App) -> socket.socket:
    sock = app.connect()
    sock.sendall(HEAD + b"Content-Length: 99\r\n\r\n{")
    return sock


def slow_chunk(app: App) -> socket.socket:
    sock = app.connect()
    sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n63\r\n{")
    return sock


def long_poll(app: App) -> socket.socket:
    path = b"GET /socket.io/?EIO=4&transport=polling"
    sock = app.connect()
    sock.sendall(path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = sock.recv(10_000)
    if b'"sid":"' in answer:
        session = answer.partition(b'"sid":"')[2].partition(b'"')[0]
        sock.sendall(path + b"&sid=" + session + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return sock


KINDS = (silent, slow, websocket, slow_body, slow_chunk, long_poll)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_green", "rounds"),
    [("0", [KINDS]), pytest.param("1", [[kind] for kind in KINDS], marks=pytest.mark.long)],
    ids=["threads", "green"],
)
def test_the_page_a_job_and_a_download_survive_more_clients_than_descriptors(
    redis_url: str, queue: Any, tmp_path: Path, is_green: str, rounds: list[Sequence[Callable[[App], socket.socket]]]
) -> None:
    with closing(App(redis_url, tmp_path, KUE_GREEN=is_green)) as app:
        for kinds in rounds:
            # Given more connections than the process has descriptors, that stay open
            held = []
            for number in range(300):
                try:
                    held.append(kinds[number % len(kinds)](app))
                except OSError:
                    break
            # Then everything works as before
            assert app.get("/healthz").status == 200 and b"button_start" in app.get("/").read(), kinds
            url = f"http://localhost:{app.port}/static/css/monitor.css"
            job = queue.create("startdownload", {"url": url}).save()
            assert job.wait(60)["file"] in os.listdir(app.downloads), kinds
            for sock in held:
                sock.close()
            assert app.get("/").status == 200 and app.process.poll() is None, kinds


def deaf(app: App) -> socket.socket:
    """Ask for more than fits into the buffers on the way, and read its beginning only."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.settimeout(30)
    sock.connect(("127.0.0.1", app.port))
    sock.sendall(b"GET /sample/10mb.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
    sock.recv(20)
    return sock


@pytest.mark.slow
def test_clients_that_do_not_read_their_answers_make_room(app: App) -> None:
    # Given so many that all connections are taken
    held = [deaf(app) for _ in range(FEW)]
    # Then others get in as soon as those have left an answer unread for a while, long before their timeout

    def is_served() -> bool:
        try:
            return bool(app.get("/healthz").status == 200)
        except OSError:
            return False

    wait_until(is_served, 30)  # long before their timeout of 75 s
    for sock in held:
        sock.close()


OTHER_THREADS = [
    "kue.web.server.wsgi_server:WsgiServer:run", "kue.worker.blocking_fetcher:BlockingFetcher:_run",
    "kue.worker.fetch_loops:FetchLoops:_run", "kue.worker.maintenance:Maintenance:_run",
]  # fmt: skip


@pytest.mark.parametrize(
    "place",
    [
        "kue.web.live.relay:Relay:run",
        "kue.worker.heartbeat:Heartbeat:_run",
        *(pytest.param(place, marks=pytest.mark.long) for place in OTHER_THREADS),
    ],
)
def test_a_process_whose_inner_thread_has_ended_ends_with_an_error(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path, place: str
) -> None:
    app = App(redis_url, tmp_path, place)
    assert app.process.wait(60) == 70
    assert b"died of an error" in app.log.read_bytes()


BODY = b'{"type":"x","data":{"n":1}}'
HEAD = b"POST /job HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
SECOND = b"GET /stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 27\r\nContent-Length: 27\r\n\r\n" + BODY,
        b"Content-Length: 27\r\nContent-Length: 0\r\n\r\n" + BODY,
        b"Content-Length: 27, 27\r\n\r\n" + BODY,
        b"Content-Length: +27\r\n\r\n" + BODY,
        b"Content-Length: -1\r\n\r\n" + BODY,
        b"Content-Length: 2_7\r\n\r\n" + BODY,
        b"Content-Length: 0x1b\r\n\r\n" + BODY,
        b"Content-Length: \r\n\r\n" + BODY,
        b"Content-Length : 27\r\n\r\n" + BODY,
        b"Content-Length: 27\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKED,
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED,
        b"Transfer-Encoding: identity\r\n\r\n" + BODY,
        b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED,
        b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED,
        b"X: a\r\n b\r\nContent-Length: 27\r\n\r\n" + BODY,
        b"X: a\nContent-Length: 27\r\n\r\n" + BODY,
        b"X: a\x00b\r\nContent-Length: 27\r\n\r\n" + BODY,
        b"Host: other\r\nContent-Length: 27\r\n\r\n" + BODY,
        b"nonsense\r\nContent-Length: 27\r\n\r\n" + BODY,
        b"Transfer-Encoding: chunked\r\n\r\n0x1b\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1b \r\n" + BODY + b"\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n+1b\r\n" + BODY + b"\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1b\n" + BODY + b"\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n1b\r\n" + BODY + b"X\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n" + BODY,
    ],
)
def test_an_ambiguous_request_is_refused_and_nothing_behind_it_is_read(page: App, queue: Any, rest: bytes) -> None:
    answer = page.say(HEAD + rest + SECOND)
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"HTTP/1.1 ") == 1, answer
    assert queue.counts()["inactive"] == 0


def test_a_header_that_passes_for_another_is_left_out(page: App, queue: Any) -> None:
    answer = page.say(HEAD + b"Transfer_Encoding: chunked\r\nContent-Length: 27\r\n\r\n" + BODY + SECOND)
    assert answer.count(b"HTTP/1.1 200") == 2 and queue.get(1).data == {"n": 1}


def test_a_body_that_nobody_reads_is_not_the_next_request(page: App) -> None:
    for request in (
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(SECOND) + SECOND,
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(SECOND), SECOND),
    ):
        answer = page.say(request + SECOND)
        assert answer.count(b"HTTP/1.1 200") == 2 and answer.count(b"inactiveCount") == 1, answer


def test_a_body_cut_short_creates_nothing(page: App, queue: Any) -> None:
    for rest in (b"Content-Length: 99\r\n\r\n" + BODY, b"Transfer-Encoding: chunked\r\n\r\n40\r\n" + BODY):
        with page.connect() as sock:
            sock.sendall(HEAD + rest)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert queue.counts()["inactive"] == 0


def test_a_request_that_breaks_off_changes_nothing_though_its_body_is_of_no_use(page: App, queue: Any) -> None:
    job = queue.create("x", {}).save()
    head = b"DELETE /job/%d HTTP/1.1\r\nHost: localhost\r\n" % job.id
    for rest in (b"Content-Length: 99\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n40\r\n{"):
        with page.connect() as sock:
            sock.sendall(head + rest)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert queue.counts()["inactive"] == 1


def by_curl(url: str, body: bytes) -> int:
    command = [require_program("curl"), "-s", "-o", os.devnull, "-w", "%{http_code}", "-X", "POST", "-T", "-"]
    command += ["-H", "Content-Type: application/json", url]
    done = subprocess.run(command, input=body, capture_output=True, timeout=30)
    return int(done.stdout)


def by_node(url: str, body: bytes) -> int:
    program = """
    const chunks = process.argv[2].match(/.{1,7}/g);
    const options = {method: 'POST', headers: {'Content-Type': 'application/json'}};
    const request = require('http').request(process.argv[1], options, (got) => {
      console.log(got.statusCode);
      got.resume();
    });
    for (const chunk of chunks) request.write(chunk);
    request.end();
    """
    words = [require_node(), "-e", program, url, body.decode()]
    return int(subprocess.run(words, capture_output=True, timeout=30, check=True).stdout)


def by_requests(url: str, body: bytes) -> int:
    pieces = (body[at : at + 5] for at in range(0, len(body), 5))
    return requests.post(url, data=pieces, headers={"Content-Type": "application/json"}, timeout=30).status_code


def by_hand(url: str, body: bytes) -> int:
    import http.client

    address = url.split("/")[2]
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/job", iter([body[:3], body[3:]]), headers, encode_chunked=True)
        with connection.getresponse() as response:
            return response.status


@pytest.mark.parametrize("send", [by_curl, by_node, by_requests, by_hand])
def test_a_body_of_unknown_length_creates_its_job(page: App, queue: Any, send: Callable[[str, bytes], int]) -> None:
    url = f"http://127.0.0.1:{page.port}/job"
    assert send(url, BODY) == 200
    assert queue.get(1).data == {"n": 1}
    too_large = json.dumps({"type": "x", "data": "y" * (2 << 20)}).encode()
    if send is not by_node:  # its argument would be too long
        assert send(url, too_large) == 413
    assert queue.counts()["inactive"] == 1


def test_a_body_of_unknown_length_comes_through_nginx(page: App, queue: Any, tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or require_program("nginx")
    port = free_port()
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p; "
        f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{page.port}; "
        f"proxy_http_version 1.1; proxy_request_buffering off; }} }} }}\n"
    )
    process = subprocess.Popen([nginx, "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)])
    try:
        wait_until(lambda: answers(port), 10)
        assert by_requests(f"http://127.0.0.1:{port}/job", BODY) == 200
        assert queue.get(1).data == {"n": 1}
    finally:
        process.terminate()
        process.wait(10)
