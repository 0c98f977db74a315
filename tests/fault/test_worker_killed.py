"""A killed worker loses nothing: its job runs again, immediately on the same machine, elsewhere after its lease."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

import kue
from tests.support import ROOT, wait_until

#: Takes jobs of type "work" and stays in them; says on stdout when each has begun.
HOLDER = """
import sys
{patch}
import os, signal, threading, time
import kue
from kue.concurrency import green
begun = []
go_on = threading.Event()
queue = kue.create_queue(sys.argv[1], lease_ms=int(sys.argv[2]))
def hold(job):
    green.original("os").write(1, b"holds\\n")  # one write, which no other can cut in two
    {hold}
queue.process("work", {slots}, hold)
time.sleep(60)
"""
#: The whole process freezes itself when four jobs have begun; when it wakes, each does what its data says.
FREEZE = """
    act = job.data["last_act"]
    if act == "hold":
        time.sleep(60)
    begun.append(job)
    if len(begun) == 4:
        os.kill(os.getpid(), signal.SIGSTOP)
        green.original("time").sleep(0.3)  # the signal may stop this thread a moment after it has stopped another
        go_on.set()
    go_on.wait(60)
    if act == "log":
        job.log("from the grave")
    if act == "progress":
        job.progress(50)
    if act == "fail":
        raise RuntimeError("from the grave")
    return "from the grave"
"""
PLAIN = ""
GREEN = "import warnings; warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch()"
#: Blocks the hub and every other green thread: only an OS thread can beat now.
BLOCK_HUB = "import eventlet; eventlet.patcher.original('time').sleep(20)"


@pytest.fixture
def holder(redis_url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(
        lease_ms: int = 30_000, patch: str = PLAIN, hold: str = "time.sleep(60)", slots: int = 1
    ) -> subprocess.Popen[str]:
        program = HOLDER.format(patch=patch, hold=hold, slots=slots)
        process = subprocess.Popen(
            [sys.executable, "-c", program, redis_url, str(lease_ms)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def has_begun(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().startswith("holds")


def test_a_new_process_on_the_machine_rescues_at_once_the_jobs_of_a_killed_one(queue: Any, holder: Any) -> None:
    job = queue.create("work", {}).save()
    process = holder()
    has_begun(process)
    process.kill()
    process.wait(10)

    queue.process("work", lambda job: "done by another")

    assert job.wait(10) == "done by another"  # the lease had 30 s to go
    job.refresh()
    assert (job.rescues, job.attempts_made) == (1, 1)
    assert [entry["outcome"] for entry in job.attempt_log] == ["rescued"]


@pytest.mark.parametrize("patch", [PLAIN, GREEN], ids=["plain", "green"])
def test_a_frozen_worker_loses_its_jobs_after_the_lease_and_can_write_nothing_when_it_wakes(
    redis_url: str, holder: Any, redis_client: redis.Redis, patch: str, request: pytest.FixtureRequest
) -> None:
    # Given a worker that froze with four jobs in hand, and another that did them
    queue = kue.create_queue(redis_url, lease_ms=1000)
    request.addfinalizer(lambda: queue.shutdown(1))
    jobs = [queue.create("work", {"last_act": act}).save() for act in ("log", "progress", "complete", "fail")]
    process = holder(lease_ms=1000, patch=patch, slots=4, hold=FREEZE)
    for _ in jobs:
        has_begun(process)
    queue.process("work", 4, lambda job: "done by another")
    for job in jobs:
        assert job.wait(20) == "done by another"
    queue.shutdown(5)
    before = [(redis_client.hgetall(queue.keys.job(job.id)), queue.log(job.id)) for job in jobs]
    marks = [queue.create("work", {"last_act": "hold"}).save() for _ in jobs]

    # When it wakes and goes on where it was
    process.send_signal(signal.SIGCONT)
    # Then all its slots take another job once they are through with the lost ones
    for _ in marks:
        has_begun(process)

    assert [(redis_client.hgetall(queue.keys.job(job.id)), queue.log(job.id)) for job in jobs] == before
    ends = {(fields["state"], fields["attempts"], fields["rescues"]) for fields, _ in before}
    assert ends == {("complete", "1", "1")}


def test_a_handler_that_blocks_the_hub_for_many_leases_keeps_its_job(
    queue: Any, holder: Any, redis_client: redis.Redis
) -> None:
    job = queue.create("work", {}).save()
    process = holder(lease_ms=600, patch=GREEN, hold=BLOCK_HUB)
    has_begun(process)
    first = redis_client.zscore(queue.keys.leases, job.id)
    queue.process("other", lambda job: None)  # so that this process rescues what it can

    # Three lease times on, it is still the holder's.
    wait_until(lambda: (redis_client.zscore(queue.keys.leases, job.id) or 0) > first + 1800, timeout=15)
    assert job.refresh().state == "active"
    assert job.rescues == 0


@pytest.mark.parametrize("cut", [False, True])
def test_an_entry_of_a_worker_that_stopped_in_order_is_gone(queue: Any, redis_client: redis.Redis, cut: bool) -> None:
    queue.process("work", lambda job: None)
    wait_until(lambda: redis_client.hlen(queue.keys.workers) == 1)

    if cut:  # also if its connections were lost since it last beat
        redis_client.client_kill_filter(_type="normal", skipme=True)
    queue.shutdown(2)

    wait_until(lambda: redis_client.hlen(queue.keys.workers) == 0)


def test_a_job_of_another_machines_dead_worker_runs_again_after_the_lease(
    redis_url: str, holder: Any, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "kue")
    queue = kue.create_queue(redis_url, lease_ms=1500)
    heard: list[tuple[Any, ...]] = []
    queue.on("job rescue", lambda *args: heard.append(args))
    job = queue.create("work", {}).save()
    process = holder(lease_ms=1500)
    has_begun(process)
    process.kill()
    process.wait(10)
    killed = time.monotonic()
    [(worker, entry)] = redis_client.hgetall(queue.keys.workers).items()
    redis_client.hset(queue.keys.workers, worker, json.dumps({**json.loads(entry), "machine": "another"}))

    queue.process("work", lambda job: "done by another")

    # The lease, a look each second, and the while in which a new process leaves leases alone: 35 s with a lease of 30.
    assert job.wait(20) == "done by another"
    assert time.monotonic() - killed >= 1.0  # not at once
    queue.shutdown(5)
    job.refresh()
    assert (job.rescues, job.attempts_made) == (1, 1)
    assert f"Rescued from {worker}:work:1: its lease expired" in queue.log(job.id)[0]
    wait_until(lambda: len(heard) == 1)
    assert heard == [(job.id, f"{worker}:work:1", 1)]
    told = [record.getMessage() for record in caplog.records if "Redis is" not in record.getMessage()]
    assert told == [f"Job {job.id} (work) rescued (rescue 1): its lease expired. It runs again."]


def test_a_job_whose_workers_die_fails_after_it_ran_alone_and_names_them(
    queue: Any, holder: Any, redis_client: redis.Redis
) -> None:
    job = queue.create("work", {}, attempts=5).save()
    dead = []
    for _ in range(3):
        process = holder()
        has_begun(process)
        process.kill()
        process.wait(10)
        dead.append(f":{process.pid}")

    queue.process("other", lambda job: None)

    wait_until(lambda: job.refresh().state == "failed", timeout=10)
    assert job.error.startswith("Failed after 2 rescues: ") and all(pid in job.error for pid in dead), job.error
    assert [entry["outcome"] for entry in job.attempt_log] == ["rescued"] * 2 + ["failed"]
    assert len([line for line in queue.log(job.id) if line.startswith("Rescued from")]) == 3


def test_what_a_process_held_comes_back_at_once_though_no_new_one_starts(queue: Any, holder: Any) -> None:
    queue.process("other", lambda job: None)  # a process that knows nothing of the job's type
    job = queue.create("work", {}).save()
    process = holder()
    has_begun(process)
    process.kill()
    process.wait(10)

    wait_until(lambda: job.refresh().state == "inactive", timeout=10)  # the lease had 30 s to go
