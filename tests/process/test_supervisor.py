"""`kue worker -p`: several processes under one parent, and what happens when one or all are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from kue.embedded.ping import ping
from tests.support import ROOT, free_port, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes in /proc")

JOBS = """
import os, time
import kue

queue = kue.create_queue(os.environ["REDIS_URL"])

@queue.process("work")
def work(job):
    time.sleep(job.data.get("seconds", 0))
    return os.getpid()

@queue.process("leave")
def leave(job):
    os._exit(1)

@queue.process("crash")
def crash(job):
    os._exit(7)
"""


class Parent:
    """A `kue worker -p` of its own."""

    def __init__(self, directory: Path, url: str, *words: str) -> None:
        self.log = directory / "worker.log"
        environ = {**os.environ, "REDIS_URL": url, "PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kue", "worker", *words],
                cwd=directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.seen: set[int] = set()

    def text(self) -> str:
        return self.log.read_text()

    def children(self) -> list[int]:
        """Return the processes that live now."""
        try:
            listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        self.seen.update(map(int, listed.split()))
        return [pid for pid in map(int, listed.split()) if alive(pid)]

    def ready(self, count: int) -> list[int]:
        """Wait until ``count`` processes have said that they are ready; return those that live."""
        wait_until(lambda: self.text().count("Ready: running") >= count, 40, message=f"{count} are ready")
        return self.children()

    def wait(self, limit_s: float = 40) -> int:
        return self.process.wait(limit_s)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def start(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Parent]]:
    """A factory of parents over ``jobs.py``; what still runs after the test is killed."""
    (tmp_path / "jobs.py").write_text(JOBS)
    parents: list[Parent] = []

    def make(*words: str) -> Parent:
        parents.append(Parent(tmp_path, redis_url, *words))
        return parents[-1]

    yield make
    for parent in parents:
        parent.children()
        if parent.process.poll() is None:
            parent.process.kill()
            parent.process.wait(10)
        for pid in parent.seen:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_killed_process_is_started_again_and_its_job_is_done(start: Callable[..., Parent], queue: Any) -> None:
    # Given three processes, one of which runs a job
    parent = start("jobs:queue", "-p", "3")
    pids = parent.ready(3)
    assert len(pids) == 3
    job = queue.create("work", {"seconds": 1.5}).save()
    wait_until(lambda: job.refresh().state == "active", 10)
    holder = int(job.worker_id.split(":")[2])
    assert holder in pids

    # When that one is killed
    os.kill(holder, signal.SIGKILL)

    # Then another takes its place, and the job is done by a living one
    living = wait_until(lambda: (now := parent.children()) and len(now) == 3 and holder not in now and now, 10)
    assert len(set(living) - set(pids)) == 1
    assert job.wait(20) != holder
    assert job.refresh().attempts_made == 1
    assert "was killed by signal 9; restarting" in parent.text()

    # And SIGTERM ends them all well
    parent.process.send_signal(signal.SIGTERM)
    assert parent.wait() == 0
    assert not [pid for pid in parent.seen if alive(pid)]


def test_killing_the_parent_ends_the_processes_and_loses_nothing(start: Callable[..., Parent], queue: Any) -> None:
    # Given a job that takes longer than anybody waits
    parent = start("jobs:queue", "-p", "2", "--timeout", "100ms")
    pids = parent.ready(2)
    job = queue.create("work", {"seconds": 60}).save()
    wait_until(lambda: job.refresh().state == "active", 10)

    # When the parent is killed
    parent.process.kill()
    parent.wait()

    # Then its processes hand back their jobs and end
    wait_until(lambda: not any(alive(pid) for pid in pids), 15, message="the processes have ended")
    assert (job.refresh().state, job.attempts_made) == ("inactive", 0)


def test_a_second_signal_means_now(start: Callable[..., Parent], queue: Any) -> None:
    # Given a job of a minute and a patient worker that was told to stop
    parent = start("jobs:queue", "-p", "2", "--timeout", "50s")
    parent.ready(2)
    job = queue.create("work", {"seconds": 60}).save()
    wait_until(lambda: job.refresh().state == "active", 10)
    parent.process.send_signal(signal.SIGTERM)
    wait_until(lambda: parent.text().count("Shutting down") == 2, 10)
    assert parent.process.poll() is None

    # When it is told again
    parent.process.send_signal(signal.SIGINT)

    # Then the job is handed back, long before its time is over
    assert parent.wait(40) == 0
    assert (job.refresh().state, job.attempts_made) == ("inactive", 0)


def test_a_job_that_ends_its_process_costs_two_which_are_replaced_at_once(
    start: Callable[..., Parent], queue: Any
) -> None:
    # Given a job that ends its process, again and again
    parent = start("jobs:queue", "-p", "2")
    parent.ready(2)
    job = queue.create("crash").save()

    # When it has failed
    wait_until(lambda: job.refresh().state == "failed", 60, message="the job has failed")

    # Then two processes were replaced, at once, and the third time it ran in a child; both processes live
    assert parent.text().count("exited with code 7; restarting now") == 2
    assert "restarting in" not in parent.text()
    assert job.error.startswith("The handler's process exited with code 7")
    wait_until(lambda: len(parent.children()) == 2, 10)
    done = queue.create("work").save()
    assert done.wait(10) in parent.children()


def test_an_exit_code_of_one_ends_nothing_once_a_process_has_been_ready(
    start: Callable[..., Parent], queue: Any
) -> None:
    # Given two processes that work
    parent = start("jobs:queue", "-p", "2")
    parent.ready(2)

    # When one ends with the code of a command that cannot work
    job = queue.create("leave").save()
    wait_until(lambda: "exited with code 1; restarting" in parent.text(), 20)
    queue.remove(job.id)

    # Then two work again
    wait_until(lambda: len(parent.children()) == 2, 20)
    assert parent.process.poll() is None


def test_a_command_that_cannot_work_ends_with_its_exit_code(start: Callable[..., Parent]) -> None:
    assert start("nojobs:queue", "-p", "2").wait() == 1
    assert "no module nojobs" in (told := start("jobs:nothing", "-p", "2")).text() or told.wait() == 1
    assert "before it was ready; shutting down" in told.text()


def program(log: Path, environ: dict[str, str], *words: str) -> subprocess.Popen[bytes]:
    """Start a program of this project's own folder."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env={**os.environ, **environ}, stdin=subprocess.DEVNULL,
            stdout=out, stderr=out,
        )  # fmt: skip


@pytest.mark.slow
def test_page_and_workers_of_app_py_share_the_embedded_server(tmp_path: Path) -> None:
    # Given no Redis, a page without workers, and two workers of green threads apart from it
    if ping(("127.0.0.1", 6379)) is not None:
        pytest.skip("a Redis listens on the usual port, and would be taken")
    log, port = tmp_path / "log", free_port()
    url = f"http://127.0.0.1:{port}"
    environ = {"KUE_DATA_DIR": str(tmp_path / "data"), "DOWNLOAD_DIR": str(tmp_path), "REDIS_URL": ""}
    environ["DOWNLOAD_ALLOW"] = "127.0.0.1:9"
    own = {"PORT": str(port), "KUE_WORKERS": "0"}
    programs = [program(log, {**environ, **own}, "app.py")]
    try:
        wait_until(lambda: answer(f"{url}/healthz"), 25, message="the page answers")
        words = ("-m", "kue", "worker", "app:queue", "-c", "startdownload=20", "-p", "2", "--green")
        programs.append(program(log, environ, *words))
        wait_until(lambda: log.read_text().count("Ready: running startdownload (20)") == 2, 25, message="both ready")

        # When a download from a port on which nobody listens is asked for
        wanted = {"type": "startdownload", "data": {"title": "t", "url": "http://127.0.0.1:9/x"}}
        made = answer(f"{url}/job", json.dumps(wanted).encode())

        # Then one of the workers has looked at it
        wait_until(lambda: answer(f"{url}/job/{made['id']}")["state"] == "failed", 15, message="the job has failed")
    finally:
        codes = [stop(each) for each in reversed(programs)]
    assert codes == [0, 0]


def stop(process: subprocess.Popen[bytes]) -> int:
    """End a program and return its exit code; one that does not end is killed."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def answer(url: str, body: bytes | None = None) -> Any:
    """Return the JSON that a URL answers, None while nothing does."""
    try:
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=10) as said:
            return json.loads(said.read() or b"null")
    except (OSError, ValueError):
        return None
