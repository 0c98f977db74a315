"""The live part of a monitor inside an application: when it starts, where, and for whom."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests
from werkzeug.serving import make_server

from kue import web
from kue.concurrency import green
from kue.web.live import socket_events
from kue.web.mount import access
from kue.web.server.thread_server import ThreadServer
from tests.support import wait_until
from tests.support.web_socket import WebSocket


def by_werkzeug(app: Any, stack: ExitStack) -> int:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return int(server.port)


def by_uvicorn(app: Any, stack: ExitStack) -> int:
    sock = green.listen("127.0.0.1", 0)
    server = ThreadServer(sock, app)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for each in (sock.close, thread.join, server.stop):
        stack.callback(each)
    return int(sock.getsockname()[1])


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("serve", [by_werkzeug, by_uvicorn])
def test_a_client_hears_of_jobs_until_authorize_refuses_it(
    queue: Any, stack: ExitStack, monkeypatch: pytest.MonkeyPatch, serve: Callable[[Any, ExitStack], int]
) -> None:
    # Given two clients, of which one loses its access later
    monkeypatch.setattr(access, "ASK_AGAIN_S", 0.05)
    monkeypatch.setattr(socket_events, "SESSION_CHECK_S", 0.05)
    roles: dict[str, str | None] = {"ada": "write", "eve": "read"}
    gate = web.wsgi(queue, lambda environ, start: [], "/jobs", authorize=lambda request: roles[request.args["who"]])
    stack.callback(gate.close)
    port = serve(gate, stack)

    def client(who: str) -> Any:
        url = f"ws://127.0.0.1:{port}/jobs/socket.io/?EIO=4&transport=websocket&who={who}"
        client = WebSocket(url)
        client.send("40")
        assert client.receive(timeout=20).startswith("0") and client.receive(timeout=20).startswith("40")
        return client

    ada, eve = client("ada"), client("eve")
    job = queue.create("mail").save()
    for each in (ada, eve):
        assert f'42["enqueue",{{"id":{job.id}' in each.receive(timeout=20)
    eve.send('421["start",{"type":"download","url":"http://x.test/"}]')
    assert "read-only access" in eve.receive(timeout=20)
    # When it has none any more, then its connection is closed, and no new one is accepted
    roles["eve"] = None
    assert eve.receive(timeout=20) == "41"
    again = f"http://127.0.0.1:{port}/jobs/socket.io/?EIO=4&transport=polling&who=eve"
    assert requests.get(again, timeout=20).status_code == 403
    ada.send('422["start",{"type":"download","url":"http://x.test/"}]')
    wait_until(lambda: '432[{"id":' in (ada.receive(timeout=20) or ""))
    for each in (ada, eve):
        each.close()


def test_a_server_without_websockets_says_so(queue: Any, stack: ExitStack) -> None:
    import flask

    app = flask.Flask("host")
    stack.callback(web.init_app(app, queue, authorize=lambda request: "read").close)
    answer = app.test_client().get("/jobs/socket.io/?EIO=4&transport=websocket", headers={"Upgrade": "websocket"})
    assert (answer.status_code, answer.text) == (501, "this server does not support WebSockets\n")


def test_nothing_runs_before_the_first_request_and_a_fork_starts_anew(queue: Any, stack: ExitStack) -> None:
    import flask

    app = flask.Flask("host")
    before = set(threading.enumerate())
    monitor = web.init_app(app, queue, authorize=lambda request: "read")
    stack.callback(monitor.close)
    assert set(threading.enumerate()) <= before
    for number in range(2):
        read, write = os.pipe()
        with warnings.catch_warnings():  # from Python 3.12 on it warns where there are threads
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            answer = app.test_client().get("/jobs/stats")
            os.write(write, b"%d %d" % (answer.status_code, monitor._started_in == os.getpid()))
            os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as said:
            assert said.read() == b"200 1", number
        assert os.waitpid(child, 0)[1] == 0
        # The second time, the parent has shown the monitor before
        assert app.test_client().get("/jobs/stats").status_code == 200
