"""``kue serve`` as a process: the whole app, the location of its jobs, and missing dependencies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.embedded.ping import ping
from tests.support import ROOT, free_port, wait_until
from tests.support.programs import environment

pytestmark = pytest.mark.usefixtures("nothing_on_the_usual_port")

LIMIT_S = 30


WITHOUT_EVENTLET = "import sys; sys.modules['eventlet'] = None; from kue.cli import main; main()"


@pytest.mark.parametrize(
    "start",
    [("-m", "kue"), pytest.param(("-c", WITHOUT_EVENTLET), marks=pytest.mark.long)],
    ids=["green", "threads"],
)
def test_kue_serve_is_the_whole_app(tmp_path: Path, start: tuple[str, str]) -> None:
    import urllib.request

    port = free_port()
    environ = environment({"PORT": str(port), "REDIS_URL": "embedded://", "KUE_DATA_DIR": str(tmp_path / "data")})
    words = [sys.executable, *start, "serve"]
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


def serve(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``kue serve`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "kue", "serve", *words], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=LIMIT_S,
    )  # fmt: skip


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
        pytest.param(("-r", "embedded://", "serve"), ".kue", marks=pytest.mark.long),
        (("serve", "-r", "embedded://", "--data-dir", "other"), "other"),
        pytest.param(("serve", "--redis-url", "embedded://"), ".kue", marks=pytest.mark.long),
    ],
)
def test_kue_serve_takes_the_place_where_the_other_commands_do(
    tmp_path: Path, words: tuple[str, ...], place: str
) -> None:
    told = app_output(tmp_path, words, "Open http://")
    assert f"Using the embedded Valkey in {place}\n" in told
    assert (tmp_path / place / "valkey.lock").exists()


def test_the_app_names_the_embedded_server_that_it_started(tmp_path: Path) -> None:
    if ping(("127.0.0.1", 6379)) is not None:
        pytest.skip("a Redis listens on the usual port")
    told = app_output(tmp_path, ("serve",), "Open http://", REDIS_URL="")
    assert told.count("Using") == 1 and "Using the embedded Valkey in .kue\n" in told


def test_a_wrong_flag_of_kue_serve_is_an_error(tmp_path: Path) -> None:
    found = serve(tmp_path, "--nope")
    assert found.returncode == 2 and "kue serve: error: unrecognized arguments: --nope" in found.stderr
    assert serve(tmp_path, "--help").returncode == 0


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
