"""``kue stats``: jobs by type and state, and the workers."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from ....errors import QueueUnavailable
from ....queue import Queue
from ....states import STATES
from ....storage.epoch_time import now_ms
from ...options import json_option, with_queue
from ...output import ago, colored, duration, paint, plain, print_json, table


@click.command(short_help="Show job counts and workers.")
@click.option("-w", "--watch", is_flag=True, help="Refresh until interrupted.")
@click.option(
    "-i",
    "--interval",
    default=2.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Refresh interval in seconds.",
)
@json_option
@with_queue
def stats(queue: Queue, watch: bool, interval: float, as_json: bool) -> None:
    """Show the number of jobs by type and state, and the workers.

    With --watch and --json each refresh is one line.
    """
    if not watch:
        tell(read(queue), as_json)
        return
    try:
        refresh(queue, interval, as_json)
    except KeyboardInterrupt:
        pass  # the normal way to end it


def refresh(queue: Queue, interval: float, as_json: bool) -> None:
    """Print the numbers until interrupted. After the first time, wait while Redis is unreachable."""
    began = False
    while True:
        try:
            seen = read(queue)
        except QueueUnavailable as exc:
            if not began:
                raise
            print(f"kue: {exc.reason or exc}", file=sys.stderr)
        else:
            began = True
            if colored() and not as_json:
                sys.stdout.write("\033[H\033[2J")
            tell(seen, as_json)
            sys.stdout.flush()
        time.sleep(interval)


def tell(seen: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(seen)
    else:
        show(seen)


def read(queue: Queue) -> dict[str, Any]:
    """Return the numbers in the form of --json; ``workTime`` is in ms."""
    return {
        "counts": queue.counts(),
        "types": queue.counts_by_type(),
        "paused": queue.paused(),
        "workTime": queue.work_time(),
        "workers": queue.workers(),
    }


def show(seen: dict[str, Any]) -> None:
    paused = seen["paused"]
    rows = [
        (name + (" (paused)" if name in paused else ""), *counts.values()) for name, counts in seen["types"].items()
    ]
    rows.append(("all", *seen["counts"].values()))
    headers = ("TYPE", *(state.upper() for state in STATES))
    table(headers, rows, right=" ".join(headers[1:]))
    unknown = [name for name in paused if name not in seen["types"]]
    if unknown:
        print(f"also paused: {plain(', '.join(unknown))}")
    print(f"total run time of completed jobs: {duration(seen['workTime'])}")
    print()
    if not seen["workers"]:
        print("no workers (Node Kue workers do not register)")
        return
    now = now_ms()
    print(paint("workers", bold=True))
    table(
        ("WORKER", "UPTIME", "LAST HEARTBEAT", "BUSY"),
        [
            (
                worker["worker"],
                ago(worker["started_at"], now),
                ago(min(worker["seen_at"], now), now),
                ", ".join(_slots(name, info) for name, info in worker["types"].items()),
            )
            for worker in seen["workers"]
        ],
        right="UPTIME",
    )


def _slots(name: str, info: Any) -> str:
    return f"{name} {info['busy']}/{info['slots']}{' (paused)' if info['paused'] else ''}"
