"""What any test may import: waiting with a limit, free ports, and "skip here, fail in CI" for outside programs."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

ROOT = Path(__file__).resolve().parents[2]
NODE_DIR = ROOT / "tests" / "node"
#: In CI a program that the tests need must be there; elsewhere its tests are skipped.
IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

T = TypeVar("T")
#: Its numbers are other ones in each process, whatever the seed of the tests' order.
_SYSTEM_RANDOM = random.SystemRandom()
#: Where servers of tests listen, and how many of these ports each process has for itself.
PORTS = range(12_000, 32_000)
OWN_PORTS = 1_000
_GIVEN: deque[int] = deque(maxlen=200)


def wait_until(predicate: Callable[[], T], timeout: float = 20.0, interval: float = 0.01, message: str = "") -> T:
    """Return the predicate's first true value; fail with ``message`` if none came within ``timeout`` seconds.

    The longer it has waited, the more rarely it looks: others need the processor.
    """
    begun = time.monotonic()
    deadline = begun + timeout
    while True:
        value = predicate()
        if value:
            return value
        now = time.monotonic()
        if now >= deadline:
            raise AssertionError(f"not within {timeout} s: {message or getattr(predicate, '__name__', predicate)}")
        time.sleep(max(interval, min((now - begun) / 20, 0.1)))


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago.

    Outgoing connections get theirs from above these, so none of them can take it before the test's server does. Nor can
    another process of this run of pytest: each has its own part of them, and gives none twice in a row.
    """
    run, process = os.environ.get("PYTEST_XDIST_TESTRUNUID", "0"), os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    first = random.Random(run).randrange(len(PORTS)) + OWN_PORTS * int(process.removeprefix("gw"))
    for _ in range(1000):
        port = PORTS[(first + _SYSTEM_RANDOM.randrange(OWN_PORTS)) % len(PORTS)]
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            if port not in _GIVEN:
                _GIVEN.append(port)
                return port
    raise RuntimeError("no port is free")


def missing(reason: str) -> NoReturn:
    """Skip the test with ``reason``; in CI fail it, because there everything must be installed."""
    if IN_CI:
        pytest.fail(f"in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def require_node(*modules: str) -> str:
    """Return the path of ``node``, once it and each npm module of tests/node named here are present."""
    node = shutil.which("node")
    if node is None:
        missing("node is not installed")
    for module in modules:
        if not (NODE_DIR / "node_modules" / module).is_dir():
            missing(f"npm module {module} is not installed: run `npm ci` in tests/node")
    return node


def require_chromium() -> str:
    """Return the path of a Chromium for the browser tests (``CHROMIUM`` in the environment chooses one).

    The headless shell comes first: it is Chromium without a window, and a page costs it half the processor time.
    """
    given = os.environ.get("CHROMIUM", "")
    for name in (given, "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name) if name else None
        if path is not None:
            return path
    missing("chromium is not installed")


def require_redis_server() -> str:
    """Return the path of a ``redis-server``, the real Redis beside the embedded Valkey."""
    return require_program("redis-server")


def require_program(name: str) -> str:
    """Return the path of an outside program such as ``nginx`` or ``curl``."""
    # Debian keeps nginx in /usr/sbin, which is not on every PATH.
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        missing(f"{name} is not installed")
    return path
