"""A worker process of the chaos run: does jobs, and notes each execution outside of Redis.

    python -m tests.fault.chaos.worker URL FILE LEASE_MS SLOTS plain|green

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

import itertools  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import kue  # noqa: E402

#: The types that the run's jobs have.
TYPES = ("mail", "thumb")


class PlannedFailure(Exception):
    """The job's data asked for it."""


def main(url: str, path: str, lease_ms: int, slots: int) -> None:
    logging.basicConfig(format="%(asctime)s %(process)d %(name)s %(levelname)s %(message)s")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    numbers = itertools.count(1)
    pid = os.getpid()

    def work(job: Any) -> Any:
        number, mark = next(numbers), job.data["mark"]

        def note(word: str) -> None:
            os.write(file, f"{word} {mark} {pid} {number} {time.time():.4f}\n".encode())

        note("begin")
        if job.data["steps"]:
            job.log("at it, attempt %d", job.attempts_made + 1)
            job.progress(1, 2)
        time.sleep(job.data["ms"] / 1000)
        if job.attempts_made < job.data["fail"]:
            note("end")
            raise PlannedFailure(f"failure {job.attempts_made + 1} of {job.data['fail']}")
        note("end")
        return {"mark": mark}

    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    queue = kue.create_queue(url, lease_ms=lease_ms)
    for job_type in TYPES:
        queue.process(job_type, slots, work)
    print("ready", flush=True)
    while not stop:
        time.sleep(0.05)
    queue.shutdown(10)
    print("stopped", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
