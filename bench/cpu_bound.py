"""How CPU-bound work scales over child processes: the same jobs with one child, and with more.

    python -m bench.cpu_bound [--children 2] [--jobs 40] [--work 3000000]

Prints seconds, jobs per second and the ratio. In an ideal world the ratio is the number of children, up to the cores.
"""

from __future__ import annotations

import argparse
import time

import kue
from bench.harness.server import Server

#: Seconds in which the jobs of one measurement must be done.
LIMIT_S = 600.0


def count(job: kue.Job) -> int:
    """Keep a core busy, in Python."""
    total = 0
    for number in range(job.data):
        total += number
    return total


def measure(url: str, children: int, jobs: int, work: int) -> float:
    """Return the seconds that the jobs take from the first start to the last end, with all children ready."""
    prefix = f"cpu{children}"
    with kue.create_queue(url, prefix) as queue:
        queue.process("count", children, count, isolation="process")
        warm = queue.create_many([{"type": "count", "data": 1}] * children * 4)
        for job in warm:
            job.wait(LIMIT_S)
        time.sleep(1)  # the last child imports
        began = time.monotonic()
        for job in queue.create_many([{"type": "count", "data": work}] * jobs):
            job.wait(LIMIT_S)
        return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cpu_bound", description=__doc__)
    parser.add_argument("--children", type=int, default=2, metavar="N", help="children of the second run (2)")
    parser.add_argument("--jobs", type=int, default=40, metavar="N", help="jobs of each run (40)")
    parser.add_argument("--work", type=int, default=3_000_000, metavar="N", help="additions in each job (3,000,000)")
    wanted = parser.parse_args()
    with Server() as server:
        seconds = {
            children: measure(server.url, children, wanted.jobs, wanted.work) for children in (1, wanted.children)
        }
    for children, took_s in seconds.items():
        print(f"{children} children: {took_s:.2f} s, {wanted.jobs / took_s:.1f} jobs/s")
    print(f"ratio: {seconds[1] / seconds[wanted.children]:.2f}")


if __name__ == "__main__":
    main()
