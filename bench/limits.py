"""What limits cost: ``python -m bench.limits [--jobs 20000] [--runs 3] [--bullmq] [--keys 1000000] [--fair 100000]``.

A worker drains one type after the other, in turns: without a limit, with one of the type, and with one by key, none of
which is ever reached. ``--bullmq``: BullMQ's worker with its limiter as well. ``--keys N``: the server's CPU time for
each job while N jobs lie in N / 10 lines. ``--fair N``: how long the only job of one key waits behind N of another, at
2/s each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import threading
import time
from typing import Any

import kue
from bench.harness import envs
from bench.harness.server import Server, ending_with_us
from kue.storage.script_values import Outcome, Reservation

#: Never reached.
RATE, CONCURRENCY = "1000000/s", 1000
SLOTS, KEYS, GIVE_UP_S = 20, 1000, 300
CASES: dict[str, dict[str, Any]] = {
    "no limit": {},
    "limit of the type": {"rate": RATE, "concurrency": CONCURRENCY},
    "limit by key": {"rate": RATE, "concurrency": CONCURRENCY, "by": "data.k"},
}


def drain(server: Server, limit: dict[str, Any], jobs: int) -> float:
    """Return how many jobs a second one process completes, and keeps."""
    server.client.flushall()
    queue, done, count = kue.create_queue(server.url, job_events=False), threading.Event(), 0
    if limit:
        queue.limit("bench", **limit)
    queue.create_many({"type": "bench", "data": {"k": f"key{n % KEYS}"}} for n in range(jobs))

    def handle(job: kue.Job) -> None:
        nonlocal count
        count += 1
        if count == jobs:
            done.set()

    began = time.perf_counter()
    queue.process("bench", SLOTS, handle)
    if not done.wait(GIVE_UP_S):
        raise SystemExit(f"{count:,} of {jobs:,} jobs in {GIVE_UP_S} s")
    took = time.perf_counter() - began
    queue.shutdown(10)
    return jobs / took


def drain_bullmq(server: Server, limited: bool, jobs: int) -> float:
    """Return the same for BullMQ, with its limiter or without."""
    server.client.flushall()
    command = [envs.node(), str(envs.NODE / "limiter_bullmq.js"), str(server.port), str(jobs), str(SLOTS)]
    command.append("1" if limited else "0")
    ran = subprocess.run(ending_with_us(command), capture_output=True, text=True, timeout=GIVE_UP_S, check=True)
    return float(json.loads(ran.stdout)["per_s"])


def server_us(server: Server, jobs: int, keys: int, taken: int) -> tuple[float, float]:
    """Return the server's CPU time for a job, µs: to create ``jobs``, and to start and complete ``taken`` of them."""
    server.client.flushall()
    queue = kue.create_queue(server.url, job_events=False)
    queue.limit("bench", by="data.k", concurrency=1)
    scripts, client = queue.session.scripts, queue.session.connector.shared()

    def cpu_us() -> float:
        used = client.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"]) * 1e6

    began = cpu_us()
    for at in range(0, jobs, 250):
        rows = [("bench", f'{{"k":"key{n % keys}"}}', "0", "1", "", "", "", "") for n in range(at, at + 250)]
        scripts.create(client, rows)
    created, done, outcomes, calls = cpu_us(), 0, [], 0
    while done < taken:
        calls += 1
        reservation = Reservation({"bench": range(SLOTS)}, 30_000, f"n{calls}", "kue:bench:1")
        reply = scripts.finish_and_reserve(client, outcomes, reservation)
        done += len(outcomes)
        outcomes = [Outcome("complete", job.job_id, job.token, ("null", "0")) for job in reply.jobs]
    ended = cpu_us()
    queue.close()
    return (created - began) / jobs, (ended - created) / taken


def fair_s(server: Server, jobs: int) -> float:
    """Return the seconds from the save of key B's only job to its start, while ``jobs`` of key A wait."""
    server.client.flushall()
    started: dict[str, float] = {}
    begun = threading.Event()

    def handle(job: kue.Job) -> None:
        if started.setdefault(job.data["k"], time.perf_counter()) and job.data["k"] == "B":
            begun.set()

    with kue.create_queue(server.url, job_events=False) as queue:
        queue.limit("bench", by="data.k", rate="2/s")
        queue.create_many({"type": "bench", "data": {"k": "A"}} for _ in range(jobs))
        queue.process("bench", SLOTS, handle)
        while "A" not in started:
            time.sleep(0.01)
        saved = time.perf_counter()
        queue.create("bench", {"k": "B"}).save()
        if not begun.wait(GIVE_UP_S):
            raise SystemExit(f"the job of key B has not started within {GIVE_UP_S} s")
    return started["B"] - saved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20_000, metavar="N")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="the median counts")
    parser.add_argument("--bullmq", action="store_true", help="measure BullMQ's limiter too; needs node and npm")
    parser.add_argument("--keys", type=int, default=0, metavar="N", help="the cost of N jobs in N / 10 lines")
    parser.add_argument("--fair", type=int, default=0, metavar="N", help="the wait of one key behind N jobs of another")
    args = parser.parse_args()
    with Server() as server:
        found: dict[str, list[float]] = {}
        for _ in range(args.runs):
            for name, limit in CASES.items():
                found.setdefault(name, []).append(drain(server, limit, args.jobs))
            for limited in (False, True) if args.bullmq else ():
                name = "BullMQ, its limiter" if limited else "BullMQ, no limit"
                found.setdefault(name, []).append(drain_bullmq(server, limited, args.jobs))
        usual = statistics.median(found["no limit"])
        for name, figures in found.items():
            figure = statistics.median(figures)
            print(f"{name:24} {figure:9,.0f} jobs/s  {figure / usual:5.2f}", flush=True)
        for jobs in (args.keys // 100, args.keys // 10, args.keys) if args.keys else ():
            create, work = server_us(server, jobs, max(1, jobs // 10), min(jobs, 20_000))
            print(f"{jobs:10,} jobs, {jobs // 10:8,} keys  create {create:5.1f} µs  start and complete {work:5.1f} µs")
        if args.fair:
            print(f"the only job of a key starts {fair_s(server, args.fair) * 1000:.0f} ms after it was saved, "
                  f"behind {args.fair:,} of another")  # fmt: skip


if __name__ == "__main__":
    main()
