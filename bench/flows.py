"""What flows cost: ``python -m bench.flows [--children 10000] [--runs 3] [--peers] [--sizes]``.

One parent and its children, saved in one step. Then one process does all of it, with no-op handlers, and the parent
reads every result. All jobs are kept. Create: until the flow is saved. Work: from the first child's start to the
parent's end.
``--peers``: BullMQ's FlowProducer and Celery's chord as well, in turns. ``--sizes``: smaller and larger flows too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import kue
from bench.harness import envs
from bench.harness.server import Server, ending_with_us

SLOTS, GIVE_UP_S = 20, 300
PEERS = Path(__file__).resolve().parent / "peers"


class Took(NamedTuple):
    """Seconds."""

    create: float
    work: float

    @property
    def total(self) -> float:
        return self.create + self.work


def of_kue(server: Server, count: int) -> Took:
    server.client.flushall()
    queue, done, first = kue.create_queue(server.url, job_events=False), threading.Event(), [0.0]
    queue.create("other").save()
    children = [queue.create("child", {"n": n}) for n in range(count)]
    began = time.perf_counter()
    queue.create("parent").after(children).save()
    created = time.perf_counter()

    def child(job: kue.Job) -> Any:
        first[0] = first[0] or time.perf_counter()
        return job.data["n"]

    def parent(job: kue.Job) -> int:
        found = sum(1 for _ in job.child_results())
        if found != count:
            raise SystemExit(f"{found} results of {count}")
        done.set()
        return found

    queue.process("child", SLOTS, child)
    queue.process("parent", 1, parent)
    if not done.wait(GIVE_UP_S):
        raise SystemExit(f"the parent has not run within {GIVE_UP_S} s")
    ended = time.perf_counter()
    queue.shutdown(10)
    return Took(created - began, ended - first[0])


def of_bullmq(server: Server, count: int) -> Took:
    server.client.flushall()
    command = [envs.node(), str(envs.NODE / "flow_bullmq.js"), str(server.port), str(count), str(SLOTS)]
    ran = subprocess.run(ending_with_us(command), capture_output=True, text=True, timeout=GIVE_UP_S, check=True)
    found = json.loads(ran.stdout)
    return Took(found["create_s"], found["work_s"])


def of_celery(server: Server, count: int) -> Took:
    """Its worker starts once the chord is saved."""
    server.client.flushall()
    python, environment = envs.python_of("celery", (3, 9)), {**os.environ, "BENCH_PORT": str(server.port)}
    words = [python, "chord_celery.py"]
    given: Any = {"cwd": PEERS, "env": environment, "text": True}
    create = [*words, "create", str(count), str(GIVE_UP_S)]
    with subprocess.Popen(ending_with_us(create), stdout=subprocess.PIPE, **given) as producer:
        assert producer.stdout is not None
        created = json.loads(producer.stdout.readline())
        work = ending_with_us([*words, "work", str(SLOTS)])
        with subprocess.Popen(work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **given) as worker:
            try:
                worked = json.loads(producer.stdout.readline())
            finally:
                worker.kill()
    return Took(created["create_s"], worked["work_s"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", type=int, default=10_000, metavar="N")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="the median counts")
    parser.add_argument("--peers", action="store_true", help="measure the others too; needs node, npm and pip")
    parser.add_argument("--sizes", action="store_true", help="the cost of a child in smaller and larger flows")
    args = parser.parse_args()
    cases = {"kue": of_kue, **({"BullMQ": of_bullmq, "Celery": of_celery} if args.peers else {})}
    with Server() as server:
        found: dict[str, list[Took]] = {}
        for _ in range(args.runs):
            for name, measure in cases.items():
                found.setdefault(name, []).append(measure(server, args.children))
        ours = statistics.median(took.total for took in found["kue"])
        print(f"{args.children:,} children    create      work     total   kue's total is so many times as fast")
        for name, all_took in found.items():
            create, work, total = (
                statistics.median(values)
                for values in zip(*((took.create, took.work, took.total) for took in all_took), strict=True)
            )
            print(f"{name:15}   {create:6.2f} s  {work:6.2f} s  {total:6.2f} s   {total / ours:5.2f}", flush=True)
        for count in (args.children // 10, args.children, args.children * 10) if args.sizes else ():
            took = of_kue(server, count)
            create_us, work_us = took.create / count * 1e6, took.work / count * 1e6
            print(f"{count:8,} children: create {create_us:5.1f} µs, work {work_us:5.1f} µs a child", flush=True)


if __name__ == "__main__":
    main()
