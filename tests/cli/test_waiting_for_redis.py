"""A command that is started before its Redis waits for it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import kue
from tests.support import free_port
from tests.support.programs import environment

LIMIT_S = 30


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
