"""A server per test that can be killed, frozen and filled, and a connection to it that can be cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers.faulty_server import FaultyServer
from tests.support.servers.proxy import Proxy


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FaultyServer]:
    with FaultyServer(tmp_path) as server:
        yield server


@pytest.fixture
def proxy(server: FaultyServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy
