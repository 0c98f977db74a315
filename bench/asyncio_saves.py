"""Saves from asyncio tasks beside those from threads: ``python -m bench.asyncio_saves --tasks 50 --jobs 20000``.

Each run measures all rows, one after another, against an empty server; printed are the medians and the ratio of the
asyncio queue to the other. Both processes share the machine with the server, as a program with its Redis does.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from collections.abc import Callable

import kue
import kue.aio
from bench.harness.server import Server
from bench.harness.steps import median

#: What is saved, beside its number.
DATA = {"to": "ada@example.com"}


def threads(url: str, count: int, jobs: int) -> float:
    """Return the saves per second of so many threads."""
    with kue.create_queue(url) as queue:
        queue.create("bench").save()

        def save(number: int) -> None:
            for _ in range(jobs // count):
                queue.create("bench", {**DATA, "n": number}).save()

        workers = [threading.Thread(target=save, args=(number,)) for number in range(count)]
        began_at = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return jobs // count * count / (time.perf_counter() - began_at)


def tasks(url: str, count: int, jobs: int) -> float:
    """Return the saves per second of so many tasks."""

    async def run() -> float:
        async with kue.aio.create_queue(url) as queue:
            await queue.create("bench").save()

            async def save(number: int) -> None:
                for _ in range(jobs // count):
                    await queue.create("bench", {**DATA, "n": number}).save()

            began_at = time.perf_counter()
            await asyncio.gather(*(save(number) for number in range(count)))
            return jobs // count * count / (time.perf_counter() - began_at)

    return asyncio.run(run())


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.asyncio_saves", description=__doc__)
    parser.add_argument("--tasks", type=int, default=50, metavar="N", help="tasks, and threads, that save (50)")
    parser.add_argument("--jobs", type=int, default=20_000, metavar="N", help="jobs of each row (20,000)")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="take the median of N runs (5)")
    options = parser.parse_args(argv)
    kinds: dict[str, Callable[[str, int, int], float]] = {"threads": threads, "tasks": tasks}
    rates: dict[tuple[str, int], list[float]] = {}
    with Server() as server:
        for _ in range(options.runs):
            for count in (1, options.tasks):
                for kind, measure in kinds.items():
                    server.empty()
                    jobs = options.jobs if count > 1 else max(1, options.jobs // 10)
                    rates.setdefault((kind, count), []).append(measure(server.url, count, jobs))
    print(f"{'':12} {'threads/s':>10} {'tasks/s':>10} {'ratio':>6}")
    for count in (1, options.tasks):
        ours, theirs = (median(rates[kind, count]) for kind in ("tasks", "threads"))
        print(f"{f'from {count}':12} {theirs:10,.0f} {ours:10,.0f} {ours / theirs:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
