"""A NAT silently drops connections: data sent on them is lost, while new ones work immediately."""

from __future__ import annotations

import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
from kue import web
from kue.connection import liveness
from kue.connection.connector import Connector
from kue.connection.subscription import received
from kue.embedded.ping import ping
from kue.embedded.server import find_binary
from kue.settings import Settings
from tests.conftest import LAUNCH, stop_server
from tests.support import free_port, wait_until
from tests.support.servers.faulty_server import FaultyServer
from tests.support.servers.proxy import Proxy

#: With this a call on a forgotten connection would take a minute and fail. One that is made again takes little over
#: liveness.LATE_S; on a busy machine a few times that.
PATIENT, SOON_S = "?socket_timeout=60", 20.0

#: Idle connections are asked after this, here.
IDLE_S = 0.3


@pytest.fixture
def queue(proxy: Proxy) -> Iterator[Any]:
    queue = kue.create_queue(proxy.url + PATIENT)
    yield queue
    proxy.unblock()
    queue.shutdown(2)


CALLS: dict[str, Callable[[Any, Any], object]] = {
    "save": lambda queue, job: queue.create("other").save(),
    "create_many": lambda queue, job: queue.create_many([{"type": "other"}] * 300),
    "get": lambda queue, job: queue.get(job.id),
    "refresh": lambda queue, job: job.refresh(),
    "counts": lambda queue, job: queue.counts(),
    "log": lambda queue, job: job.log("a line"),
    "remove": lambda queue, job: job.remove(),
}


@pytest.mark.parametrize("idle_s", [0.0, 2 * IDLE_S], ids=["just-used", "idle"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_on_a_forgotten_connection_succeeds_on_a_new_one(
    queue: Any, proxy: Proxy, name: str, idle_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "IDLE_S", IDLE_S)
    job = queue.create("waiting").save()
    job.refresh()
    time.sleep(idle_s)
    proxy.stall()
    began_at = time.monotonic()
    CALLS[name](queue, job)
    assert time.monotonic() - began_at < SOON_S


def test_an_idle_connection_is_asked_before_a_command_goes_out_on_it(
    queue: Any, proxy: Proxy, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A command that must not be done twice would be, once the network lets the first one through after all.
    monkeypatch.setattr(liveness, "IDLE_S", IDLE_S)
    queue.counts()
    time.sleep(2 * IDLE_S)
    proxy.stall()
    client = queue.session.connector.shared()
    assert client.incr("counted") == 1
    proxy.unblock()
    time.sleep(0.1)
    assert client.get("counted") == "1"


def test_a_worker_and_a_waiting_caller_continue(
    queue: Any, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []
    queue.process("a", 2, lambda job: done.append(job.id) or "done")
    assert queue.create("a").save().wait(30) == "done"
    proxy.stall()
    with caplog.at_level(logging.WARNING):
        began_at = time.monotonic()
        job = queue.create("a").save()
        assert job.wait(30) == "done"
        assert time.monotonic() - began_at < SOON_S
    assert sorted(done) == sorted(set(done))
    assert "away" not in caplog.text  # Redis was reachable all along


def test_a_subscription_finds_itself_forgotten(
    queue: Any, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kue.connection.subscription.POLL_S", 0.1)
    heard: list[Any] = []
    queue.subscribe(lambda event: heard.append(event.event))
    proxy.stall()
    wait_until(lambda: "resync" in heard, 30)
    queue.create("a").save()
    wait_until(lambda: "enqueue" in heard, 30)


def test_the_page_and_its_live_stream_continue(
    queue: Any, proxy: Proxy, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kue.connection.subscription.POLL_S", 0.1)
    app, socketio = web.create_app(Settings.load({}), queue, async_mode="threading")
    http, page = app.test_client(), socketio.test_client(app, headers={"Host": "localhost"})
    try:
        page.emit("watch", {}, callback=True)
        assert http.get("/", base_url="http://localhost").status_code == 200
        proxy.stall()
        began_at = time.monotonic()
        assert http.get("/", base_url="http://localhost").status_code == 200
        assert time.monotonic() - began_at < SOON_S
        # A job of another program is shown, once the stream has noticed
        kue.create_queue(server.url).create("news").save()
        heard: list[str] = []

        def has_heard() -> bool:
            heard.append(str(page.get_received()))
            return any("news" in text or "resync" in text for text in heard)

        wait_until(has_heard, 30)
        assert "news" in http.get("/", base_url="http://localhost").text
    finally:
        web.close(app)


def test_a_server_that_is_slow_is_no_forgotten_connection(server: FaultyServer) -> None:
    client = Connector(server.url).dedicated()
    number = client.client_id()
    server.freeze()
    threading.Timer(1.5 * liveness.LATE_S, server.thaw).start()
    assert client.client_id() == number
    client.close()


def test_after_a_black_hole_of_everything_calls_work_at_once(proxy: Proxy) -> None:
    queue = kue.create_queue(proxy.url + "?socket_timeout=3")
    queue.create("a").save()
    proxy.block()
    with pytest.raises(kue.QueueUnavailable, match="saving the same object again is safe") as caught:
        queue.create("a").save()
    assert str(caught.value).startswith("Redis is unreachable (")
    proxy.cut()
    proxy.unblock()
    began_at = time.monotonic()
    queue.create("a").save()
    assert time.monotonic() - began_at < 3  # no call waited for the end of its time
    queue.close()


def test_a_network_that_comes_back_during_a_call_is_used(queue: Any, proxy: Proxy) -> None:
    queue.counts()
    proxy.stall()
    proxy.refuse()
    threading.Timer(1.5, proxy.accept_again).start()
    assert queue.counts()["inactive"] == 0


@pytest.mark.parametrize("form", ["url", "client", "blocking-pool", "function"])
def test_every_form_of_address_gives_such_connections(proxy: Proxy, form: str) -> None:
    sources: dict[str, Any] = {
        "url": proxy.url + "?client_name=me",
        "client": redis.Redis(port=proxy.port),
        "blocking-pool": redis.Redis(connection_pool=redis.BlockingConnectionPool(port=proxy.port, max_connections=3)),
        "function": lambda: redis.Redis(port=proxy.port),
    }
    connector = Connector(sources[form])
    for make in (connector.shared, connector.dedicated):
        client = make()
        assert client.ping()
        proxy.stall()
        with pytest.raises(liveness.ConnectionForgotten):
            client.get("key")
        assert client.get("key") is None
        client.close()


def test_keepalive_is_set_on_every_connection(server: FaultyServer) -> None:
    client = Connector(server.url).dedicated()
    client.ping()
    sock = client.connection._sock
    for option, value in liveness.keepalive_options().items():
        assert sock.getsockopt(socket.IPPROTO_TCP, option) == value
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    client.close()


def test_the_private_parts_of_redis_py_that_are_used_are_there(server: FaultyServer) -> None:
    # OneConnection polls the socket, and the subscription takes from the reader what came in together.
    client = Connector(server.url).dedicated()
    client.ping()
    assert isinstance(client.connection._sock.fileno(), int)
    pubsub = client.pubsub()
    pubsub.subscribe("channel")
    assert pubsub.get_message(timeout=5)["type"] == "subscribe"
    with server.client() as other:
        pipe = other.pipeline(transaction=False)
        for text in ("first", "second", "third"):
            pipe.publish("channel", text)
        pipe.execute()
    assert pubsub.get_message(timeout=5)["data"] == "first"
    assert received(pubsub.connection) == ["second", "third"]
    pubsub.close()
    client.close()


def use_forgotten(url: str, prefix: str, proxies: list[Proxy]) -> None:
    """Let all connections of a queue be forgotten, and use each kind."""
    queue = kue.create_queue(url + PATIENT, prefix)
    try:
        queue.process("a", 1, lambda job: "done")
        assert queue.create("a").save().wait(30) == "done"
        for proxy in proxies:
            proxy.stall()
        for call in (lambda: queue.create("a").save().wait(30), lambda: queue.counts()):
            began_at = time.monotonic()
            assert call()
            assert time.monotonic() - began_at < SOON_S
    finally:
        for proxy in proxies:
            proxy.unblock()
        queue.shutdown(2)


def test_a_cluster_continues_over_new_connections(tmp_path: Path) -> None:
    port = free_port()
    with Proxy(port) as proxy, FaultyServer(
        tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-announce-port",
        str(proxy.port), "--cluster-announce-ip", "127.0.0.1", fsync="no", port=port,
    ) as server:  # fmt: skip
        client: Any = server.client()
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")), 10)
        use_forgotten(f"redis+cluster://127.0.0.1:{proxy.port}", "q", [proxy])


def test_sentinels_and_their_primary_continue_over_new_connections(
    server: FaultyServer, proxy: Proxy, tmp_path: Path
) -> None:
    port, config = free_port(), tmp_path / "sentinel.conf"
    lines = [f"port {port}", "bind 127.0.0.1", f"sentinel monitor main 127.0.0.1 {proxy.port} 1",
             "sentinel down-after-milliseconds main 60000", ""]  # fmt: skip
    config.write_text("\n".join(lines), encoding="utf-8")
    command = [*LAUNCH, str(find_binary()), str(config), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: (ping(("127.0.0.1", port)) or "").startswith("+PONG"), 10)
        with Proxy(port) as before_sentinel:
            url = f"redis+sentinel://127.0.0.1:{before_sentinel.port}/main"
            use_forgotten(url, "q", [proxy, before_sentinel])
    finally:
        stop_server(process)
