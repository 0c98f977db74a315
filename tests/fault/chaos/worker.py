"""A worker process of the chaos run: does jobs, and notes each execution outside of Redis.

    python -m tests.fault.chaos.worker URL FILE LEASE_MS SLOTS plain|green

The type "page" has an async handler, and belongs to the plain workers: eventlet and asyncio exclude each other. "scan"
runs in child processes; its executions bear the pid of the worker, which is what is killed.

FILE gets one line for the beginning of each execution and one for its end: ``begin|end MARK PID NUMBER EPOCH_S``,
each by one write with O_APPEND, so that it is there whole or not at all. SIGTERM stops in order.
"""

from __future__ import annotations

import sys
import warnings

if __name__ == "__main__" and sys.argv[5] == "green":
    warnings.simplefilter("ignore")
    import eventlet

    eventlet.monkey_patch()

import asyncio  # noqa: E402
import itertools  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from functools import lru_cache  # noqa: E402
from typing import Any  # noqa: E402

import kue  # noqa: E402

#: The types that the run's jobs have: of any worker, and of those that have an event loop.
THREAD_TYPES, ASYNC_TYPES, PROCESS_TYPES = ("mail", "thumb"), ("page",), ("scan",)
TYPES = (*THREAD_TYPES, *ASYNC_TYPES, *PROCESS_TYPES)
#: Of the jobs that schedules create, of those with a limit for each key, and of those that wait for others.
SCHEDULED_TYPE, LIMITED_TYPE, PARENT_TYPE = "tick", "crawl", "join"


class PlannedFailure(Exception):
    """The job's data asked for it."""


numbers = itertools.count(1)


#: The process that is killed and frozen: in a child, its parent. A child has the command line of its worker.
worker_pid = os.getpid if __name__ == "__main__" else os.getppid


def noting(job: Any) -> Callable[[], Any]:
    """Note the beginning of an execution; return a function that notes its end, and returns or raises."""
    file, mark, pid, number = _opened(sys.argv[2]), job.data["mark"], worker_pid(), f"{os.getpid()}.{next(numbers)}"

    def note(word: str) -> None:
        os.write(file, f"{word} {mark} {pid} {number} {time.time():.4f}\n".encode())

    def end() -> Any:
        note("end")
        if job.attempts_made < job.data["fail"]:
            raise PlannedFailure(f"failure {job.attempts_made + 1} of {job.data['fail']}")
        return {"mark": mark}

    note("begin")
    return end


@lru_cache
def _opened(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


# Handlers that can be imported, so that a suspect runs in a child: a kill of its worker is not its doing then.


def work(job: Any) -> Any:
    end = noting(job)
    if job.data["steps"]:
        job.log("at it, attempt %d", job.attempts_made + 1)
        job.progress(1, 2)
    time.sleep(job.data["ms"] / 1000)
    return end()


def join(job: Any) -> Any:
    marks = [result["mark"] for _, result in job.child_results()]
    if len(marks) != job.children_total:
        raise kue.UnrecoverableError(f"{len(marks)} results of {job.children_total} children")
    return work(job)


async def async_work(job: Any) -> Any:
    end = noting(job)
    if job.data["steps"]:
        await job.log("at it, attempt %d", job.attempts_made + 1)
        await job.progress(1, 2)
    await asyncio.sleep(job.data["ms"] / 1000)
    return end()


def main(url: str, lease_ms: int, slots: int) -> None:
    logging.basicConfig(format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s")
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    queue = kue.create_queue(url, lease_ms=lease_ms)
    for job_type in (*THREAD_TYPES, SCHEDULED_TYPE, LIMITED_TYPE):
        queue.process(job_type, slots, work)
    queue.process(PARENT_TYPE, slots, join)
    for job_type in ASYNC_TYPES if sys.argv[5] == "plain" else ():
        queue.process(job_type, slots, async_work)
    for job_type in PROCESS_TYPES:
        queue.process(job_type, 1, work, isolation="process", memory_limit="512M")
    print("ready", flush=True)
    while not stop:
        time.sleep(0.05)
    queue.shutdown(10)
    print("stopped", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]), int(sys.argv[4]))
