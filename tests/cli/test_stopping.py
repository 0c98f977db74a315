"""A program stops in time after a signal, whatever its handlers and Redis do."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kue import Queue, create_queue
from kue.concurrency import essential
from kue.process import stop_signals, supervisor
from tests.cli.conftest import environment
from tests.support import ROOT, wait_until
from tests.support.servers.faulty_server import FaultyServer

JOBS = """
import asyncio, os, time
import kue
from kue.concurrency import green
from kue.process import stop_signals

stop_signals.RELEASE_S = float(os.environ.get("RELEASE_S", stop_signals.RELEASE_S))
queue = kue.create_queue(os.environ["REDIS_URL"])

@queue.process("stubborn")
def stubborn(job):
    while True:
        try:
            job.log("here")
            time.sleep(60)
        except BaseException:
            pass

@queue.process("blocks")
def blocks(job):
    job.log("here")
    while True:
        green.original("time").sleep(60)  # in C, with all other green threads behind it

async def async_stubborn(job):
    await job.log("here")
    while True:
        try:
            await asyncio.sleep(60)
        except BaseException:
            pass

async def async_blocks(job):
    await job.log("here")
    while True:
        time.sleep(60)

async def async_thread(job):
    await job.log("here")
    await asyncio.to_thread(time.sleep, 60)

if not green.enabled():
    for handler in (async_stubborn, async_blocks, async_thread):
        queue.process(handler.__name__, handler)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


def stopped(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str, float]:
    """Return the exit code, what was said, and the seconds that it took."""
    began_at = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=50)
    return process.returncode, err, time.monotonic() - began_at


def started(queue: Queue, job_type: str) -> Any:
    job = queue.create(job_type).save()
    wait_until(lambda: queue.log(job.id or 0) == ["here"], 60)
    return job


def test_the_default_leaves_time_below_ten_seconds() -> None:
    assert stop_signals.GRACE_S + stop_signals.MARGIN_S + stop_signals.RELEASE_S < 9
    assert stop_signals.GRACE_S + supervisor.KILL_S < 9.5


#: On a busy machine; without a deadline of its own the process would stay for a minute.
BUSY_S = 25


@pytest.mark.parametrize(
    ("job_type", "words", "limit_s"),
    [
        ("stubborn", (), BUSY_S),
        pytest.param("stubborn", ("--green",), BUSY_S, marks=pytest.mark.long),
        ("blocks", ("--green",), BUSY_S),
        ("async_stubborn", (), BUSY_S),
        ("async_blocks", (), BUSY_S),
        pytest.param("async_thread", (), BUSY_S, marks=pytest.mark.long),
    ],
)
def test_a_handler_that_does_not_end_is_left_and_its_job_released(
    queue: Queue, start: Callable[..., Any], folder: Path, job_type: str, words: tuple[str, ...], limit_s: float
) -> None:
    patient = {"RELEASE_S": "15"}  # other tests may keep the cores busy
    process = start("worker", "jobs:queue", "--timeout", "100ms", *words, cwd=folder, env=patient)
    job = started(queue, job_type)
    code, err, took_s = stopped(process)
    assert code == 0 and took_s < limit_s, (took_s, err)
    job.refresh()
    assert (job.state, job.attempts_made) == ("inactive", 0)
    assert queue.workers() == []


@pytest.mark.parametrize("words", [(), pytest.param(("--green",), marks=pytest.mark.long)])
def test_a_worker_whose_redis_is_frozen_ends(
    tmp_path: Path, folder: Path, start: Callable[..., Any], words: tuple[str, ...]
) -> None:
    (tmp_path / "redis").mkdir()
    with FaultyServer(tmp_path / "redis") as server:
        queue = create_queue(server.url)
        environ = {"REDIS_URL": server.url}
        process = start("worker", "jobs:queue", "--timeout", "100ms", *words, cwd=folder, env=environ)
        started(queue, "stubborn")
        server.freeze()
        try:
            _, err, took_s = stopped(process)
        finally:
            server.thaw()
        assert took_s < BUSY_S, err
        queue.close()


def test_a_worker_lets_async_handlers_end_and_cancels_those_that_do_not_in_time(
    queue: Queue, start: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "mails.py").write_text(
        "import asyncio, os, kue\n"
        "queue = kue.create_queue(os.environ['REDIS_URL'])\n"
        "@queue.process('mail', concurrency=200)\n"
        "async def mail(job):\n"
        "    await job.log('here')\n"
        "    try:\n"
        "        await asyncio.sleep(job.data)\n"
        "    except asyncio.CancelledError as exc:\n"
        "        await asyncio.sleep(0.01)\n"
        "        print('cleaned up after', type(exc.args[0]).__name__, flush=True)\n"
        "        raise\n"
        "    return 'sent'\n"
        "@queue.process('thumb')\n"
        "def thumb(job):\n"
        "    return 'small'\n"
    )
    process = start("worker", "mails:queue", "--timeout", "3s", cwd=tmp_path)
    assert process.stdout.readline().startswith("Ready: running mail (200), thumb (1) of queue q")
    assert queue.create("thumb").save().wait(20) == "small"
    short, long = queue.create("mail", 0.5).save(), queue.create("mail", 60).save()
    for job in (short, long):
        wait_until(lambda job=job: queue.log(job.id) == ["here"], 20)  # type: ignore[misc]
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and "running jobs released: 1" in err and "Traceback" not in err
    assert out == "cleaned up after WorkerStopping\n"
    assert short.refresh().result == "sent" and long.refresh().state == "inactive" and long.attempts_made == 0
    assert queue.workers() == []


@pytest.mark.parametrize("words", [(), ("-p", "2")])
def test_a_closed_terminal_is_a_stop(
    queue: Queue, start: Callable[..., Any], folder: Path, words: tuple[str, ...]
) -> None:
    process = start("worker", "jobs:queue", "--timeout", "100ms", *words, cwd=folder)
    job = started(queue, "stubborn")
    code, err, _ = stopped(process, signal.SIGHUP)
    assert code == 0 and "running jobs released: 1" in err
    assert job.refresh().state == "inactive"


def test_the_app_stops_when_its_terminal_is_closed(redis_url: str, tmp_path: Path, port: int) -> None:
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py")],
        cwd=tmp_path,
        env=environment(redis_url, PORT=str(port), KUE_DATA_DIR=str(tmp_path)),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        wait_until(lambda: "Open http" in process.stderr.readline(), 60)
        code, err, _ = stopped(process, signal.SIGHUP)
    finally:
        process.kill()
    assert code == 0 and "Stopped" in err


def test_a_worker_without_a_thread_that_it_needs_ends(
    queue: Queue, start: Callable[..., Any], folder: Path, tmp_path: Path
) -> None:
    (folder / "lost.py").write_text(
        "from jobs import queue\n"
        "def gone(): raise SystemExit\n"
        "@queue.process('break')\n"
        "def broken(job): queue._worker.engine._fetch_loops._next_request = gone\n"
    )
    process = start("worker", "lost:queue", cwd=folder)
    queue.create("break").save()
    _, err = process.communicate(timeout=50)
    assert process.returncode == essential.EXIT_CODE and "Thread fetch loop died of an error" in err


def test_under_nohup_a_closed_terminal_is_none() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert set(stop_signals.handled()) == {signal.SIGTERM, signal.SIGINT}
    finally:
        signal.signal(signal.SIGHUP, before)
