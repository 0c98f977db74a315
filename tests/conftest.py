"""Fixtures for every test: one Valkey per pytest process, emptied before each test that uses it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis

from kue.connection import locate
from tests.support import (
    IN_CI,
    NODE_DIR,
    ROOT,
    free_port,
    require_chromium,
    require_node,
    require_program,
    require_redis_server,
    wait_until,
)
from tests.support.order import (
    pytest_collection_modifyitems,
    pytest_configure_node,
    pytest_make_collect_report,
    pytest_runtest_protocol,
    pytest_unconfigure,
    pytest_xdist_make_scheduler,
)
from tests.support.script_steps import Steps

__all__ = [
    "IN_CI",
    "NODE_DIR",
    "ROOT",
    "pytest_collection_modifyitems",
    "pytest_configure_node",
    "pytest_make_collect_report",
    "pytest_runtest_protocol",
    "pytest_unconfigure",
    "pytest_xdist_make_scheduler",
    "free_port",
    "require_chromium",
    "require_node",
    "require_program",
    "require_redis_server",
    "wait_until",
]

# Collecting the tests makes a million objects that stay: looking through them for garbage is a third of its time.
gc.disable()

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("kue", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("kue")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.freeze()
    gc.enable()


#: Through this, a test server ends with pytest, also with a killed one.
LAUNCH = [sys.executable, "-I", "-S", str(ROOT / "kue" / "embedded" / "launcher.py"), str(os.getpid()), "", "", ""]
LAUNCH.append("deathsig" if sys.platform == "linux" else "watch")


def start_server(binary: str, directory: Path, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a Redis or Valkey in memory only, on a free loopback port; return it and its URL."""
    from kue.embedded.ping import ping

    for _ in range(5):
        port = free_port()
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
        process = subprocess.Popen(
            [*LAUNCH, *command, "--appendonly", "no", "--logfile", str(directory / "server.log"), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def settled(port: int = port, process: subprocess.Popen[bytes] = process) -> bool:
            return process.poll() is not None or bool(ping(("127.0.0.1", port)))

        try:
            wait_until(settled, timeout=10, message=f"{binary} answers on port {port}")
        except AssertionError:
            stop_server(process)
            raise
        if process.poll() is None:
            return process, f"redis://127.0.0.1:{port}/0"
    raise RuntimeError(f"{binary} does not start: see {directory / 'server.log'}")


def stop_server(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(timeout=10)


@pytest.fixture(scope="session")
def _valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from kue.embedded.server import find_binary

    process, url = start_server(str(find_binary()), tmp_path_factory.mktemp("valkey"))
    yield url
    stop_server(process)


@pytest.fixture(scope="session")
def _emptying_client(_valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(_valkey_url) as client:
        yield client


@pytest.fixture
def redis_url(_valkey_url: str, _emptying_client: redis.Redis) -> str:
    """The URL of an empty Valkey, over TCP so that Node reaches it too. Never port 6379."""
    _emptying_client.flushall()
    return _valkey_url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of ``redis_url`` that answers with str."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def steps(redis_client: redis.Redis) -> Steps:
    """The transitions of a job as single calls, with a clock that the test sets."""
    return Steps(redis_client)


@pytest.fixture
def queue(redis_url: str) -> Iterator[Any]:
    """A queue on ``redis_url``, shut down after the test."""
    import kue

    queue = kue.create_queue(redis_url)
    yield queue
    queue.shutdown(2)


@pytest.fixture
def second_redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """A factory ``(*options) -> url``: each call starts Debian's own Redis, stopped after the test."""
    running = []

    def start(*options: str) -> str:
        process, url = start_server(require_redis_server(), tmp_path_factory.mktemp("redis"), *options)
        running.append(process)
        return url

    yield start
    for process in running:
        stop_server(process)


@pytest.fixture
def late_server(tmp_path: Path) -> Iterator[Any]:
    """A function that starts a server on a port, some time after others have looked for it."""
    from tests.support.servers.faulty_server import FaultyServer

    servers: list[FaultyServer] = []

    def start(port: int) -> FaultyServer:
        folder = tmp_path / "late"
        folder.mkdir()
        server = FaultyServer(folder, port=port)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def nothing_on_the_usual_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let this process find neither a Redis where one usually is, nor an embedded server."""
    monkeypatch.setattr(locate, "USUAL_PORT", free_port())
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("KUE_DATA_DIR", str(tmp_path / "data"))
