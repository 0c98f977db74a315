"""Measure kue beside its peers: ``python -m bench --help``."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from bench.comparison import details, plan, report
from bench.harness import catalog, host
from bench.harness.server import Server
from bench.harness.steps import Bench, StepFailed

#: Written after a run of everything.
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="less of everything: minutes in place of an hour")
    add("--only", default="", metavar="WORDS", help="only rows with one of these words, or tables: kue,server,async")
    add("--peers", default="all", metavar="WORDS", help="peers to measure: all, none, or such as huey,bullmq (all)")
    add("--runs", type=int, default=0, metavar="N", help="take the median of N runs (3; with --quick 1)")
    add("--jobs", type=int, default=0, metavar="N", help="waiting jobs in a drain (20,000)")
    add("--profile", action="store_true", help="show where kue's worker and the server spend their time, no table")
    add("--threads", action="store_true", help="with --profile: plain threads instead of green ones")
    add("-c", "--concurrency", type=int, default=10, metavar="N", help="with --profile (10)")
    add("--aof", action="store_true", help="let the server write its append-only file, once a second")
    return parser.parse_args(argv)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def chosen(words: str) -> Callable[[str], bool]:
    """Return a test whether a row's name holds one of these words; without words each does."""
    parts = [part for part in words.split(",") if part]
    return lambda name: not parts or any(part in name for part in parts)


def figures(steps: plan.Plan, only: str, peers: str) -> Iterator[plan.Figure]:
    """Measure each row that is wanted, one after another."""
    wanted, among = chosen(only), chosen("" if peers == "all" else peers)
    if wanted(plan.LIMIT):
        yield from steps.limits()
    for green in (True, False):
        if wanted(catalog.kue(green).name):
            yield from steps.peer(catalog.kue(green))
    for name, make in catalog.installed(lambda name: wanted(name) and among(name)):
        try:
            peer = make()
        except StepFailed as exc:
            say(f"{name}: {exc}")
            yield name, "drain", str(exc)
        else:
            yield from steps.peer(peer)


def measure(
    bench: Bench, sizes: plan.Sizes, options: argparse.Namespace, runs: int
) -> tuple[plan.Measured, dict[str, plan.Measured]]:
    """Do all the runs; return the table of all peers, and kue's further tables by name."""
    steps = plan.Plan(bench, sizes, say)
    among, tables = chosen("" if options.peers == "all" else options.peers), options.only.split(",")
    measured: plan.Measured = plan.Measured()
    extra: dict[str, plan.Measured] = {}
    for at in range(runs):
        if runs > 1:
            say(f"run {at + 1} of {runs}")
        for figure in figures(steps, options.only, options.peers):
            measured.add(*figure)
        further = details.Details(steps, options.quick, among)
        for title, figure in further.all(lambda title: not options.only or "details" in tables or title in tables):
            extra.setdefault(title, plan.Measured()).add(*figure)
    return measured, extra


def main(argv: list[str]) -> None:
    options = parse(argv)
    sizes = plan.QUICK if options.quick else plan.FULL
    if options.jobs:
        sizes = replace(sizes, jobs=options.jobs)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all is cleared away
    machine, busy = host.describe(), host.busy()
    say(machine)
    if busy:
        say("other programs are busy on this machine: expect low and uneven figures")
    host.pin(0, host.peer_cores())
    with Server(options.aof) as server:
        bench = Bench(server)
        try:
            if options.profile:
                plan.profile(bench, sizes, not options.threads, options.concurrency, say=print)
                return
            runs = options.runs or (1 if options.quick else 3)
            began = time.monotonic()
            measured, extra = measure(bench, sizes, options, runs)
            say(f"{time.monotonic() - began:.0f} s")
            if measured.rows():
                print(report.table(measured))
            for key, (title, columns, _) in report.TABLES.items():
                if key in extra:
                    print(f"\n{title}\n\n{report.table(extra[key], columns)}")
            if (ratios := report.Ratios(measured, extra)).lines:
                print(f"\n{ratios.table()}")
            if not options.only and options.peers == "all":
                persistence = "append-only file written once a second" if options.aof else "no persistence"
                text = report.page(
                    measured,
                    extra,
                    machine=machine,
                    busy=busy,
                    server=f"{server.version}, {persistence}",
                    runs=runs,
                    words="".join(f" {word}" for word in argv),
                )
                PAGE.write_text(text, encoding="utf-8")
                say(f"written: {PAGE}")
        finally:
            bench.close()


if __name__ == "__main__":
    main(sys.argv[1:])
