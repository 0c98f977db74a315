"""A worker that is killed loses nothing: its job runs again, at once on the same machine, after its lease elsewhere."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from tests.support import ROOT, wait_until

#: Takes one job of type "work" and stays in it; says on stdout when it has begun.
HOLDER = """
import sys, time
{patch}
import kue
queue = kue.create_queue(sys.argv[1], lease_ms=int(sys.argv[2]))
def hold(job):
    print("holds", job.id, flush=True)
    {hold}
queue.process("work", hold)
time.sleep(60)
"""
GREEN = "import warnings; warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch()"
#: Blocks the hub and every other green thread: only a true thread can beat now.
BLOCK_HUB = "import eventlet; eventlet.patcher.original('time').sleep(20)"


@pytest.fixture
def holder(redis_url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(lease_ms: int = 30_000, patch: str = "", hold: str = "time.sleep(60)") -> subprocess.Popen[str]:
        program = HOLDER.format(patch=patch, hold=hold)
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


def test_a_new_process_on_the_machine_takes_back_at_once_what_a_killed_one_held(queue: Any, holder: Any) -> None:
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


def test_a_frozen_worker_loses_its_job_after_the_lease_and_can_write_nothing_when_it_wakes(
    queue: Any, holder: Any, redis_client: redis.Redis
) -> None:
    import signal

    job = queue.create("work", {}).save()
    process = holder(lease_ms=600, hold="time.sleep(1); job.log('from the grave'); job.progress(50)")
    has_begun(process)
    process.send_signal(signal.SIGSTOP)
    queue.process("work", lambda job: "done by another")

    assert job.wait(10) == "done by another"
    before = (redis_client.hgetall(queue.keys.job(job.id)), queue.log(job.id))
    process.send_signal(signal.SIGCONT)
    # The woken worker takes the next job only after it is through with the lost one.
    queue.shutdown(2)
    redis_client.lpush(queue.keys.tokens("work"), "1")
    wait_until(lambda: redis_client.llen(queue.keys.tokens("work")) == 0, timeout=15)

    assert (redis_client.hgetall(queue.keys.job(job.id)), queue.log(job.id)) == before


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


def test_an_entry_of_a_worker_that_stopped_in_order_is_gone(queue: Any, redis_client: redis.Redis) -> None:
    queue.process("work", lambda job: None)
    wait_until(lambda: redis_client.hlen(queue.keys.workers) == 1)

    queue.shutdown(2)

    wait_until(lambda: redis_client.hlen(queue.keys.workers) == 0)
