"""The clock of the Redis server is set forward and back: each job runs once, and nothing is stuck."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
from kue.embedded.ping import ping
from kue.embedded.server import find_binary
from tests.support import ROOT, free_port, missing, wait_until

LEASE_MS = 3000
HOUR_S = 3600


class Clocked:
    """A Valkey whose clock the test sets; that of the test itself goes on."""

    def __init__(self, folder: Path) -> None:
        found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        if not found:
            missing("libfaketime is not installed")
        self._file = folder / "clock"
        self.set(0)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        environ = {
            **os.environ, "LD_PRELOAD": found[0], "FAKETIME_TIMESTAMP_FILE": str(self._file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        # Debian's own server starts its allocator before the library can answer it.
        command = [str(find_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(folder)]
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL)
        wait_until(lambda: ping(("127.0.0.1", self.port)), 10)

    def set(self, seconds: int) -> None:
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{seconds:+d}s")
        temporary.replace(self._file)

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Clocked]:
    server = Clocked(tmp_path)
    yield server
    server.process.kill()
    server.process.wait(10)


class Workers:
    """Several queues that work on one Redis, and what they ran."""

    def __init__(self, url: str, count: int, lease_ms: int = LEASE_MS) -> None:
        self.started: Counter[Any] = Counter()
        self.go = threading.Event()
        self.queues = [kue.create_queue(url, lease_ms=lease_ms) for _ in range(count)]
        for queue in self.queues:
            queue.process("long", 10, self.long)
            queue.process("short", 10, lambda job: self.started.update([job.id]))

    def long(self, job: Any) -> str:
        self.started[job.id] += 1
        while not self.go.wait(0.05):
            job._raise_if_interrupted()
        return "done"

    def stop(self) -> None:
        self.go.set()
        for queue in self.queues:
            queue.shutdown(5)


@pytest.fixture
def workers(server: Clocked) -> Iterator[Workers]:
    workers = Workers(server.url, 3)
    yield workers
    workers.stop()


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, 60, -60])
def test_no_running_job_is_taken_from_its_worker(server: Clocked, workers: Workers, jump_s: int) -> None:
    # Given running jobs, with a ttl and without
    queue = kue.create_queue(server.url)
    jobs = [queue.create("long", ttl=ttl).save() for ttl in (0, 60_000) for _ in range(6)]
    wait_until(lambda: len(workers.started) == 12, 10)
    time.sleep(0.5)  # a few looks at the clock
    # When the clock jumps, and more than a lease goes by
    server.set(jump_s)
    time.sleep(LEASE_MS / 1000 * 1.5)
    # Then each still runs where it ran, and ends
    workers.go.set()
    assert [job.wait(10) for job in jobs] == ["done"] * 12
    assert set(workers.started.values()) == {1}
    assert all(queue.get(job.id).rescues == 0 for job in jobs)


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_a_job_whose_worker_dies_in_that_moment_runs_again_within_a_lease(
    server: Clocked, workers: Workers, jump_s: int
) -> None:
    # Given a process with a running job
    program = (
        "import sys, time, kue\n"
        f"queue = kue.create_queue(sys.argv[1], lease_ms={LEASE_MS})\n"
        "queue.process('mine', 1, lambda job: (print('started', flush=True), time.sleep(60)))\n"
        "time.sleep(60)\n"
    )
    words = [sys.executable, "-c", program, server.url]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    queue = kue.create_queue(server.url)
    job = queue.create("mine").save()
    assert child.stdout is not None and child.stdout.readline() == b"started\n"
    # When it dies, unknown to the system, as the clock jumps
    client = server.client()
    entries = {name: text.replace("boot", "") for name, text in client.hgetall("q:workers").items()}
    assert entries
    child.kill()
    server.set(jump_s)
    for name in entries:  # so that nobody can tell from this machine's own list of processes
        if f":{child.pid}" in name:
            client.hdel("q:workers", name)
    child.wait(10)
    child.stdout.close()
    # Then the others take it back within a lease and a little
    workers.queues[0].process("mine", 1, lambda job: "again")
    assert job.wait(LEASE_MS / 1000 * 3) == "again"


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_delayed_and_retrying_jobs_run_when_they_are_due(server: Clocked, workers: Workers, jump_s: int) -> None:
    queue = kue.create_queue(server.url)
    tried: Counter[Any] = Counter()

    def flaky(job: Any) -> str:
        tried[job.id] += 1
        if tried[job.id] == 1:
            raise ValueError("once more")
        return "ok"

    workers.queues[0].process("flaky", 1, flaky)
    retrying = queue.create("flaky", attempts=2, backoff={"delay": 2500, "type": "fixed"}).save()
    delayed = queue.create("short", delay=2500).save()
    a_date = datetime.now() + timedelta(hours=30)
    dated = queue.create("short").delay(a_date).save()
    wait_until(lambda: queue.get(retrying.id).state == "delayed", 10)
    time.sleep(1.2)
    server.set(jump_s)
    assert retrying.wait(6) == "ok" and tried[retrying.id] == 2
    delayed.wait(6)
    assert workers.started[delayed.id] == 1
    # A date stays the date that it was
    assert abs((queue.get(dated.id).promote_at or 0) - a_date.timestamp() * 1000) < 10


def test_a_ttl_still_ends_an_attempt_after_a_jump(server: Clocked, workers: Workers) -> None:
    for jump_s in (HOUR_S, 0):  # forward, and back again
        workers.started.clear()
        queue = kue.create_queue(server.url)
        job = queue.create("long", ttl=2500).save()
        wait_until(lambda: workers.started, 10)
        time.sleep(0.5)
        server.set(jump_s)
        begun = time.monotonic()
        with pytest.raises(kue.JobFailed, match="TTL exceeded"):
            job.wait(8)
        assert time.monotonic() - begun > 1  # not at once, for the hour that never was


def test_a_worker_that_stands_still_for_longer_than_its_lease_loses_its_job(server: Clocked, workers: Workers) -> None:
    program = (
        "import sys, time, kue\n"
        f"queue = kue.create_queue(sys.argv[1], lease_ms={LEASE_MS})\n"
        "queue.process('mine', 1, lambda job: (print('started', flush=True), time.sleep(60)))\n"
        "time.sleep(60)\n"
    )
    words = [sys.executable, "-c", program, server.url]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        queue = kue.create_queue(server.url)
        job = queue.create("mine").save()
        assert child.stdout is not None and child.stdout.readline() == b"started\n"
        child.send_signal(19)  # SIGSTOP
        workers.queues[0].process("mine", 1, lambda job: "again")
        assert job.wait(LEASE_MS / 1000 * 3) == "again"
    finally:
        child.kill()
        child.wait(10)
        if child.stdout is not None:
            child.stdout.close()
