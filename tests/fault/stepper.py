"""Runs a scenario in which the process ends at its N-th command to Redis, again and again.

    python -m tests.fault.stepper URL

Each line on stdin, ``N before|after``, forks a process that plays the scenario and is gone right before it would send
its N-th command, or right after. The answer on stdout is its status: 77 for such an end, 0 if the scenario was over.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import redis

import kue

#: Status of a process that ended at its command.
CUT = 77
LEASE_MS = 2000
#: The jobs of the scenario by their mark, with what they need of the worker.
MARKS = ("good", "again", "late", "unwanted", "stopped", "slow")


def die_at(step: int, when: str) -> None:
    """End this process at its ``step``-th command, whichever thread and connection sends it."""
    lock, sent = threading.RLock(), 0  # a connection that opens itself sends from inside a send
    send: Callable[..., Any] = redis.connection.AbstractConnection.send_packed_command

    def counted(connection: Any, command: Any, **options: Any) -> Any:
        nonlocal sent
        with lock:
            sent += 1
            is_last = sent == step
            if is_last and when == "before":
                os._exit(CUT)
            answer = send(connection, command, **options)
            if is_last:
                os._exit(CUT)
            return answer

    redis.connection.AbstractConnection.send_packed_command = counted  # type: ignore[method-assign]


def play(url: str) -> None:
    """Create, reserve, progress, log, complete, fail, retry, promote, cancel, and release at the end."""
    queue = kue.create_queue(url, lease_ms=LEASE_MS)
    running = threading.Event()

    def work(job: kue.Job) -> str:
        mark = job.data["mark"]
        job.log("at it")
        job.progress(1, 2)
        if mark == "again" and job.attempts_made == 0:
            raise RuntimeError("once")
        if mark in ("stopped", "slow"):
            running.set()
            while True:
                time.sleep(0.005)
                job.progress(50)
        return mark

    queue.process("work", 3, work)
    queue.create("work", {"mark": "unwanted"}, delay=60_000).save().cancel()
    stopped = queue.create("work", {"mark": "stopped"}).save()
    jobs = [queue.create("work", {"mark": "good"}).save()]
    jobs += queue.create_many([
        queue.create("work", {"mark": "again"}, attempts=2, backoff={"type": "fixed", "delay": 5}),
        queue.create("work", {"mark": "late"}, delay=5),
    ])  # fmt: skip
    running.wait(10)
    stopped.cancel()
    running.clear()
    queue.create("work", {"mark": "slow"}).save()
    give_up = time.monotonic() + 10
    while any(job.refresh().state != "complete" for job in jobs) and time.monotonic() < give_up:
        time.sleep(0.01)
    running.wait(10)
    queue.shutdown(0.01)


def main(url: str) -> None:
    for line in sys.stdin:
        step, when = line.split()
        child = os.fork()
        if child == 0:
            die_at(int(step), when)
            play(url)
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
