"""Copying from socket to file inside the kernel, and the fallback."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kue.downloads import DownloadHandler
from kue.downloads.files.splice import PIPE_BYTES, Pipe, possible
from kue.downloads.http import connection
from tests.downloads.conftest import assert_file
from tests.downloads.hostile import FakeJob, HostileServer, content, good

pytestmark = pytest.mark.skipif(not possible(), reason="this system has no splice")
DATA = content(3_000_000)
Make = Callable[..., DownloadHandler]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Return a pipe."""
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return two sockets that are connected; the first does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far = listener.accept()[0]
    near.setblocking(False)
    with near, far:
        yield near, far


def test_a_silent_socket_and_the_end_of_one_are_told_apart(
    pipe: Pipe, pair: tuple[socket.socket, socket.socket]
) -> None:
    near, far = pair
    assert pipe.take(near.fileno(), 100) is None and pipe.works
    far.close()
    near.setblocking(True)
    assert near.recv(1, socket.MSG_PEEK) == b""
    near.setblocking(False)
    assert pipe.take(near.fileno(), 100) == 0 and pipe.works


@pytest.mark.parametrize("flags", [0, os.O_APPEND], ids=["usual", "a file that cannot be spliced to"])
def test_all_bytes_arrive_in_their_place(
    pipe: Pipe, pair: tuple[socket.socket, socket.socket], tmp_path: Path, flags: int
) -> None:
    near, far = pair
    path = tmp_path / "x"
    path.write_bytes(b"head")
    fd = os.open(path, os.O_RDWR | flags)
    try:
        position = 4
        for turn in range(3):
            far.sendall(DATA[position : position + 50_000])
            while position < 4 + 50_000 * (turn + 1):
                size = pipe.take(near.fileno(), PIPE_BYTES)
                if size:
                    pipe.give(fd, position, size)
                    position += size
    finally:
        os.close(fd)
    assert path.read_bytes() == b"head" + DATA[4:position] and pipe.works == (flags == 0)


def test_what_is_no_socket_makes_it_useless_not_an_error(pipe: Pipe, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert pipe.take(fd, 100) is None and not pipe.works
    finally:
        os.close(fd)


@pytest.mark.parametrize("segments", [1, 3])
def test_a_system_without_it_downloads_anyway(
    make: Make, folder: Path, monkeypatch: pytest.MonkeyPatch, segments: int
) -> None:
    monkeypatch.setattr(connection, "possible", lambda: False)
    with HostileServer(good(DATA)) as server:
        assert_file(folder, make(server)(FakeJob(server.url(), segments=segments)), DATA)
