"""Limits hold across worker processes that are killed, measured from outside by timestamps of starts and ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import kue
from tests.support import ROOT, wait_until

#: Appends "start|end type key pid ms" to a file, each by one write, so that lines are whole and in order.
WORKER = """
import os, sys, time
import kue

queue = kue.create_queue(sys.argv[1], lease_ms=1500)
stamps = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def work(job):
    key = job.data["k"]
    os.write(stamps, f"start {job.type} {key} {os.getpid()} {job.id} {time.time() * 1000:.0f}\\n".encode())
    time.sleep(0.03)
    os.write(stamps, f"end {job.type} {key} {os.getpid()} {job.id} {time.time() * 1000:.0f}\\n".encode())

for name in ("keyed", "whole"):
    queue.process(name, 6, work)
print("ready", flush=True)
sys.stdin.read()
"""
JOBS = 120
#: How much later than another one a handler may stamp its start, ms.
LATE_MS = 150


@pytest.fixture
def workers(redis_url: str, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    (tmp_path / "worker.py").write_text(WORKER)
    made: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(3):
            made.append(start(redis_url, tmp_path))
        yield made
    finally:
        for worker in made:
            worker.kill()
            worker.communicate(timeout=10)


def start(redis_url: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(folder / "worker.py"), redis_url, str(folder / "stamps")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environ)


@pytest.mark.slow
def test_no_limit_is_exceeded_while_workers_are_killed(
    redis_url: str, queue: kue.Queue, workers: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    # Given a limit by key and one of a type, and more jobs than may run
    queue.limit("keyed", by="data.k", concurrency=2)
    queue.limit("whole", rate="60/s", burst=3, concurrency=3)
    queue.create_many({"type": name, "data": {"k": "abc"[n % 3]}} for n in range(JOBS) for name in ("keyed", "whole"))
    stamps = tmp_path / "stamps"
    # When workers are killed in the middle of jobs, and others take their places
    killed: dict[int, float] = {}
    for at, worker in enumerate(list(workers[:2]), start=1):
        wait_until(lambda at=at: stamps.exists() and stamps.read_text().count("start") > 30 * at, 30)  # type: ignore[misc]
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(10)
        killed[worker.pid] = time.time() * 1000
        workers.append(start(redis_url, tmp_path))
    # Then all jobs complete
    wait_until(lambda: queue.complete_count() == 2 * JOBS, 60)
    # And at no moment more of them ran than may
    running: dict[tuple[str, str], dict[tuple[str, str], int]] = defaultdict(dict)
    begun: list[float] = []
    lines = sorted((line.split() for line in stamps.read_text().splitlines()), key=lambda words: float(words[-1]))
    for what, name, key, pid, job_id, at_text in lines:
        now = float(at_text)
        of = running[name, key if name == "keyed" else ""]
        if what == "end":
            of.pop((pid, job_id))
            continue
        gone = [each for each in of if killed.get(int(each[0]), float("inf")) <= now]
        for each in gone:
            del of[each]
        of[pid, job_id] = 1
        assert len(of) <= (2 if name == "keyed" else 3), (name, key, of)
        if name == "whole":
            begun.append(now)
    # And no more started in a time than may: a handler's stamp comes up to some ms after its reservation
    for first in range(len(begun)):
        for last in range(first + 20, len(begun)):
            assert last - first + 1 <= 3 + (begun[last] - begun[first] + LATE_MS) * 60 / 1000
