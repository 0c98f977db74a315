"""``kue bench``: benchmark a Redis from this machine, in a temporary queue."""

from __future__ import annotations

import threading
import time
import uuid
from typing import Any

import click

from ...connection.failures import with_retries
from ...errors import KueError
from ...queue import Queue
from ..options import Place, json_option, open_queue, with_place
from ..output import print_json, table

#: Maximum duration of one part, seconds.
PART_S = 120.0
#: Number of threads that save jobs concurrently.
PRODUCERS = 8


@click.command(short_help="Benchmark this Redis.")
@click.option("-n", "--jobs", default=10_000, show_default=True, type=click.IntRange(100, 10_000_000), help="Jobs.")
@click.option(
    "-c", "--concurrency", default=50, show_default=True, type=click.IntRange(1, 1000), help="Concurrent jobs."
)
@json_option
@with_place
def bench(place: Place, jobs: int, concurrency: int, as_json: bool) -> None:
    """Benchmark this Redis with no-op jobs: saves and completed jobs per second, and latency.

    The benchmark uses its own key prefix and removes it afterwards. It runs in one process with threads; more processes
    achieve more.
    """
    url, _ = place.with_environment()
    measured = measure(url, jobs, concurrency)
    if as_json:
        print_json(measured)
        return
    table(
        ("WHAT", "RESULT", "UNIT"),
        [(words, f"{measured[name]:,.{digits}f}", unit) for name, words, digits, unit in _ROWS],
        right="RESULT",
    )


_ROWS = (
    ("ping_ms", "one round trip to Redis", 2, "ms"),
    ("save_per_s", "save(), one thread", 0, "jobs/s"),
    ("save_threads_per_s", f"save(), {PRODUCERS} threads", 0, "jobs/s"),
    ("create_many_per_s", "create_many(), 1,000 at a time", 0, "jobs/s"),
    ("work_per_s", "no-op jobs completed", 0, "jobs/s"),
    ("latency_p50_ms", "latency from save() to the handler, p50", 2, "ms"),
    ("latency_p99_ms", "latency from save() to the handler, p99", 2, "ms"),
)


def measure(url: str | None, jobs: int, concurrency: int) -> dict[str, float]:
    """Return the numbers by the names of ``_ROWS``; times in ms, rates in jobs per second."""
    queue = open_queue(Place(url, f"kue-bench-{uuid.uuid4().hex[:8]}"))
    try:
        queue.session.call(lambda client: client.ping())
        numbers: dict[str, float] = {"ping_ms": _ping_ms(queue)}
        single = max(100, jobs // 10)
        numbers["save_per_s"] = single / _timed(lambda: _save(queue, single))
        numbers["save_threads_per_s"] = single / _timed(lambda: _save_in_threads(queue, single))
        numbers["create_many_per_s"] = jobs / _timed(
            lambda: queue.create_many({"type": "work", "data": {"n": n}} for n in range(jobs))
        )
        waiting = queue.inactive_count()
        numbers["work_per_s"] = waiting / _timed(lambda: _work(queue, waiting, concurrency))
        queue.shutdown(0)
        queue = Queue(url, queue.prefix)  # an idle worker
        waits = sorted(_latencies(queue, 200))
        numbers["latency_p50_ms"] = waits[len(waits) // 2] * 1000
        numbers["latency_p99_ms"] = waits[len(waits) * 99 // 100] * 1000
        return {name: round(value, 3) for name, value in numbers.items()}
    finally:
        queue.shutdown(0)
        remove_all(url, queue.prefix)


def remove_all(url: str | None, prefix: str) -> None:
    """Remove all keys of the temporary queue."""
    queue = Queue(url, prefix)

    def remove() -> None:
        client: Any = queue.session.connector.shared()
        batch: list[str] = []
        for key in client.scan_iter(match=f"{prefix}:*", count=1000):
            batch.append(key)
            if len(batch) == 1000:
                client.unlink(*batch)
                batch = []
        if batch:
            client.unlink(*batch)

    try:
        with_retries(remove, 10.0)
    finally:
        queue.close()


def _timed(call: Any) -> float:
    begin = time.perf_counter()
    call()
    return max(time.perf_counter() - begin, 1e-6)


def _ping_ms(queue: Queue) -> float:
    times = sorted(_timed(lambda: queue.session.call(lambda client: client.ping())) for _ in range(100))
    return times[50] * 1000


def _save(queue: Queue, count: int) -> None:
    for n in range(count):
        queue.create("work", {"n": n}).save()


def _save_in_threads(queue: Queue, count: int) -> None:
    shares = [count // PRODUCERS + (n < count % PRODUCERS) for n in range(PRODUCERS)]
    threads = [threading.Thread(target=_save, args=(queue, share), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PART_S)


def _work(queue: Queue, count: int, concurrency: int) -> None:
    queue.process("work", concurrency, lambda job: None)
    give_up = time.monotonic() + PART_S + count / 1000
    while queue.complete_count() < count:
        if time.monotonic() > give_up:
            raise KueError(f"stopped: only {queue.complete_count()} of {count} jobs completed in time")
        time.sleep(0.01)


def _latencies(queue: Queue, count: int) -> list[float]:
    begun = threading.Event()
    at = [0.0]

    def note(job: Any) -> None:
        at[0] = time.perf_counter()
        begun.set()

    queue.process("one", 1, note)
    waits: list[float] = []
    give_up = time.monotonic() + PART_S
    for n in range(count + 20):
        if time.monotonic() > give_up and len(waits) > 20:
            break
        begun.clear()
        saved = time.perf_counter()
        queue.create("one", {"n": n}).save()
        if not begun.wait(30):
            raise KueError("stopped: a job did not start within 30 s")
        waits.append(at[0] - saved)
    return waits[20:]  # without the first ones, during which everything starts
