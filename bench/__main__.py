"""Measure kue beside its peers: ``python -m bench --help``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from bench import catalog, host, plan, report
from bench.server import Server
from bench.steps import Bench, StepFailed


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="less of everything")
    add("--only", default="", metavar="WORDS", help="only rows that contain one of these words, such as kue,limit")
    add("--no-peers", dest="peers", action="store_false", help="kue and the server's limit alone")
    add("--runs", type=int, default=0, metavar="N", help="take the median of N runs (3; with --quick 1)")
    add("--jobs", type=int, default=0, metavar="N", help="waiting jobs in a drain (20,000)")
    add("--profile", action="store_true", help="show where kue's worker and the server spend their time, no table")
    add("--threads", action="store_true", help="with --profile: plain threads instead of green ones")
    add("-c", "--concurrency", type=int, default=10, metavar="N", help="with --profile (10)")
    add("--aof", action="store_true", help="let the server write its append-only file, once a second")
    return parser.parse_args(argv)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def figures(steps: plan.Plan, only: str, peers: bool) -> Iterator[plan.Figure]:
    """Measure each row that is wanted, one after another."""
    words = [word for word in only.split(",") if word]

    def wanted(name: str) -> bool:
        return any(word in name for word in words) if words else True

    if wanted(plan.LIMIT):
        yield from steps.limits()
    for green in (True, False):
        if wanted(catalog.kue(green).name):
            yield from steps.peer(catalog.kue(green))
    for name, make in catalog.installed(wanted) if peers else ():
        try:
            peer = make()
        except StepFailed as exc:
            say(f"{name}: {exc}")
            yield name, "drain", str(exc)
        else:
            yield from steps.peer(peer)


def main(argv: list[str]) -> None:
    options = parse(argv)
    sizes = plan.QUICK if options.quick else plan.FULL
    if options.jobs:
        sizes = replace(sizes, jobs=options.jobs)
    machine = host.describe()
    say(machine)
    host.pin(0, host.peer_cores())
    with Server(options.aof) as server:
        bench = Bench(server)
        try:
            if options.profile:
                plan.profile(bench, sizes, not options.threads, options.concurrency, say=print)
                return
            steps = plan.Plan(bench, sizes, say)
            measured = plan.Measured()
            began = time.monotonic()
            for _ in range(options.runs or (1 if options.quick else 3)):
                for figure in figures(steps, options.only, options.peers):
                    measured.add(*figure)
            say(f"{time.monotonic() - began:.0f} s")
            print(report.table(measured, measured.rows()))
        finally:
            bench.close()


if __name__ == "__main__":
    main(sys.argv[1:])
