"""Tasks with process isolation: checked, converted, and inside middleware in the child process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kue
from tests.support.programs import environment

MODULE = """
import os
from dataclasses import dataclass
from datetime import timedelta

import kue

queue = kue.create_queue()


class Tagged(kue.Middleware):
    def execute(self, job, call_next):
        job.log("around in %d", os.getpid())
        return call_next(job)


queue.use(Tagged())


@dataclass
class Answer:
    number: int
    pid: int
    took: timedelta


@queue.task(name="crunch", concurrency=2, isolation="process", memory_limit="1G", max_jobs=10)
def crunch(job: kue.Job, number: int, crash: bool = False) -> Answer:
    if crash:
        os._exit(3)
    job.log("in %d", os.getpid())
    return Answer(number * 2, os.getpid(), timedelta(seconds=1))
"""


@pytest.mark.slow
def test_a_task_runs_in_a_child_process(queue: kue.Queue, redis_url: str, tmp_path: Path) -> None:
    # Given jobs of a task, one with a mistake and one that ends its process
    (tmp_path / "crunching.py").write_text(MODULE)
    for data in ({"number": 21}, {"number": "x"}, {"number": 1, "crash": True}):
        queue.create("crunch", data).attempts(1).save()
    # When a worker runs them
    words = [sys.executable, "-m", "kue", "worker", "crunching:queue", "--burst"]
    environ = environment({"REDIS_URL": redis_url})
    ran = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    # Then the first has run, and its middleware, in a process that was not the worker's
    right, wrong, crashed = (queue.get(number) for number in (1, 2, 3))
    assert (right.result["number"], right.result["took"]) == (42, "PT1S")
    child = right.result["pid"]
    assert queue.log(1) == [f"around in {child}", f"in {child}"] and child != os.getpid()
    assert f"pid {child}" not in ran.stdout
    # And each of the others has failed for its own reason
    assert wrong.error == 'task "crunch": parameter "number": expected int, got str'
    assert crashed.state == "failed" and "exited with code 3" in (crashed.error or "")
