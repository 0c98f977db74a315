"""Which Redis the program uses: the configured one, the default one, or the embedded one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from kue.embedded import server
from kue.embedded.server import ServerError, ensure_redis, probe
from kue.settings import Settings
from tests.support import free_port


def settings(tmp_path: Path, **more: str) -> Settings:
    return Settings.load({"KUE_DATA_DIR": str(tmp_path / "data"), **more})


@contextmanager
def listener(*answers: bytes) -> Iterator[int]:
    """Listen on a port; give the n-th connection the n-th answer, and the last one to all after it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ended = threading.Event()

        def serve() -> None:
            count = 0
            while not ended.is_set():
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(2)
                    if connection.recv(64) and answers:
                        connection.sendall(answers[min(count, len(answers) - 1)])
                    elif not answers:
                        ended.wait(2)
                count += 1

        thread = threading.Thread(target=serve)
        thread.start()
        port: int = listening.getsockname()[1]
        try:
            yield port
        finally:
            ended.set()
            with socket.create_connection(("127.0.0.1", port)):
                pass
            thread.join(5)


@pytest.fixture
def usual_port(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Say which port stands for 6379 in this test."""
    monkeypatch.setattr(server, "USUAL_PORT", free_port())
    return lambda port: monkeypatch.setattr(server, "USUAL_PORT", port)


def test_a_given_address_is_taken_as_it_is(tmp_path: Path) -> None:
    url = "redis://redis.example:6379/3"
    assert ensure_redis(settings(tmp_path, REDIS_URL=url)) == (url, None)
    assert not (tmp_path / "data").exists()


def test_the_usual_redis_is_used_when_it_answers(tmp_path: Path, redis_url: str, usual_port: Callable) -> None:
    usual_port(int(redis_url.removesuffix("/0").rpartition(":")[2]))
    assert ensure_redis(settings(tmp_path)) == (redis_url, None)


@pytest.mark.usefixtures("usual_port")
def test_else_the_embedded_one_is_started(tmp_path: Path) -> None:
    url, started = ensure_redis(settings(tmp_path))
    assert started is not None
    with started, redis.Redis.from_url(url) as client:
        assert client.ping()


def test_a_redis_that_wants_a_password_is_named_and_left_alone(
    tmp_path: Path,
    second_redis_server: Callable[..., str],
    usual_port: Callable,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = second_redis_server("--requirepass", "secret")
    usual_port(int(url.removesuffix("/0").rpartition(":")[2]))
    found, started = ensure_redis(settings(tmp_path))
    assert started is not None and found.startswith("unix://")
    started.stop()
    assert "requires a password" in caplog.text and "set REDIS_URL=redis://:PASSWORD@127.0.0.1:" in caplog.text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not a Redis"),
        (b"-MISCONF the disk is full\r\n", "answered with an error: MISCONF the disk is full"),
        (b"\xff\xfe\x00", "not a Redis"),
    ],
)
def test_something_else_on_the_port_is_named_and_left_alone(
    tmp_path: Path, usual_port: Callable, caplog: pytest.LogCaptureFixture, answer: bytes, said: str
) -> None:
    with listener(answer) as port:
        usual_port(port)
        _, started = ensure_redis(settings(tmp_path))
    assert started is not None
    started.stop()
    assert said in caplog.text


def test_a_listener_that_says_nothing_is_not_waited_for() -> None:
    with listener() as port:
        usable, problem = probe("127.0.0.1", port, timeout_s=0.1)
    assert not usable and "does not respond" in problem


def test_a_redis_that_still_reads_its_data_is_waited_for() -> None:
    with listener(b"-LOADING Redis is loading the dataset in memory\r\n", b"+PONG\r\n") as port:
        assert probe("127.0.0.1", port) == (True, "")


def test_both_reasons_are_given_when_nothing_can_be_used(
    tmp_path: Path, usual_port: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with listener(b"-NOAUTH Authentication required.\r\n") as port:
        usual_port(port)
        with pytest.raises(ServerError, match="no embedded server .* requires a password"):
            ensure_redis(settings(tmp_path))
