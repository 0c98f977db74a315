"""A process that ends between any two of its commands leaves nothing that another worker could not finish."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

import kue
from tests.fault.stepper import CUT, LEASE_MS, MARKS
from tests.support import ROOT, wait_until
from tests.support.consistency import inconsistencies

#: Each run ends at every second command, the odd ones or the even ones; with 1 at all of them.
AFTER_STRIDE = int(os.environ.get("KUE_STRIDE", "2"))
#: More commands than the scenario can send.
STEPS_MAX = 400
#: Keys that a run of the scenario may leave.
MAY_STAY = {"q:clock", "q:ids", "q:jobs", "q:jobs:complete", "q:jobs:failed", "q:jobs:work:complete",
            "q:jobs:work:failed", "q:job:types", "q:stats:work-time", "q:alerts:turn:forgotten"}  # fmt: skip


@pytest.fixture
def play_until(redis_url: str) -> Iterator[Callable[[int, str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fault.stepper", redis_url], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    stdin: Any = process.stdin
    stdout: Any = process.stdout

    def play(step: int, when: str) -> int:
        stdin.write(f"{step} {when}\n")
        stdin.flush()
        return int(stdout.readline())

    yield play
    stdin.close()
    process.wait(10)
    stdout.close()


def finish(url: str) -> None:
    """Do what is left, as another worker of the machine."""
    queue = kue.create_queue(url, lease_ms=LEASE_MS)
    queue.process("work", 5, lambda job: job.data["mark"])
    try:
        wait_until(lambda: _left(queue) == 0, 15, message="all jobs ended")
        wait_until(lambda: [each["pid"] for each in queue.workers()] == [os.getpid()], 10, message="only we are left")
    finally:
        queue.shutdown(5)


def _left(queue: kue.Queue) -> int:
    # The job that was to be cancelled may wait for its time yet: its producer is dead.
    delayed = [job for job in queue.get_many(queue.delayed()) if job.data["mark"] != "unwanted"]
    counts = queue.counts()
    return counts["active"] + counts["inactive"] + len(delayed)


# Before a command Redis is as after the last one, so that a sample is enough there.
@pytest.mark.long
@pytest.mark.parametrize(("when", "stride"), [("before", 16), ("after", AFTER_STRIDE)])
def test_a_process_may_end_at_any_command(
    redis_url: str, redis_client: redis.Redis, play_until: Callable[[int, str], int], when: str, stride: int
) -> None:
    for step in range(random.randint(1, stride), STEPS_MAX, stride):
        redis_client.flushall()
        status = play_until(step, when)
        if status == 0:
            break
        assert status == CUT
        where = f"ended {when} command {step}"
        finish(redis_url)

        assert inconsistencies(redis_client) == [], where
        jobs = [redis_client.hgetall(key) for key in redis_client.keys("q:job:*") if _is_job(key)]
        marks = Counter(json.loads(job["data"])["mark"] for job in jobs)
        assert set(marks.values()) <= {1} and set(marks) <= set(MARKS), f"{where}: {marks}"
        for job in jobs:
            mark = json.loads(job["data"])["mark"]
            if job["state"] == "complete":
                assert mark not in ("unwanted",) and int(job["attempts"]) <= 2, f"{where}: {job}"
            elif job["state"] == "failed":
                assert mark in ("unwanted", "stopped") and job["error"] == "Cancelled", f"{where}: {job}"
            else:
                assert mark == "unwanted", f"{where}: {job}"
        stay = [key for key in redis_client.keys("*") if not (_is_job(key.removesuffix(":log")) or ":lane:" in key)]
        assert set(stay) - {"q:jobs:delayed", "q:jobs:work:delayed"} <= MAY_STAY, f"{where}: {stay}"
    else:
        pytest.fail(f"the scenario was not over after {STEPS_MAX} commands")
    assert step > 30  # it has that many at the least


def _is_job(key: str) -> bool:
    return key.startswith("q:job:") and key.removeprefix("q:job:").isdecimal()
