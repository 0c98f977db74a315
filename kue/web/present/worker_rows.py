"""The worker processes as the page shows them: who is there, what they do, what is wrong with them."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from kue.queue import Queue
    from kue.storage.worker_records import WorkerInfo

#: Milliseconds of silence after which a worker is taken for gone. It speaks each third of a lease, 10 s by default.
SILENT_MS = 35_000
#: A clock so far off, ms, is worth a warning: times on the page would look wrong.
CLOCK_OFF_MS = 2_000


class WorkerView(TypedDict):
    """A line of the table."""

    name: str
    host: str
    pid: int
    here: bool
    """Whether it is the process that answers this request."""
    types: list[tuple[str, int, int, bool]]
    """Type, jobs it runs, jobs it may run at once, whether it takes no new ones."""
    busy: int
    slots: int
    up_ms: int
    silent_ms: int
    """Since its last sign of life."""
    gone: bool
    clock_off_ms: int


class Crew(TypedDict):
    """What the workers that are there do for one type together."""

    workers: int
    slots: int
    busy: int
    taking: bool
    """Whether any of them takes new jobs."""


def view(info: WorkerInfo, now_ms: float) -> WorkerView:
    silent = max(0, int(now_ms - info["seen_at"]))
    types = [(name, each["busy"], each["slots"], each["paused"]) for name, each in sorted(info["types"].items())]
    return {
        "name": info["worker"],
        "host": info["host"],
        "pid": info["pid"],
        "here": info["pid"] == os.getpid() and info["host"] == socket.gethostname(),
        "types": types,
        "busy": sum(busy for _, busy, _, _ in types),
        "slots": sum(slots for _, _, slots, _ in types),
        "up_ms": max(0, int(now_ms - info["started_at"])),
        "silent_ms": silent,
        "gone": silent > SILENT_MS,
        "clock_off_ms": info["clock_off_ms"],
    }


def views(queue: Queue) -> list[WorkerView]:
    """Return the workers, those that are there first. Only the clock of Redis counts: it is theirs as well."""
    now = queue.server_ms()
    return sorted((view(info, now) for info in queue.workers()), key=lambda each: (each["gone"], each["name"]))


def crews(workers: list[WorkerView]) -> dict[str, Crew]:
    """Return for each type what the workers that are there do for it."""
    found: dict[str, Crew] = {}
    for worker in workers:
        for name, busy, slots, paused in worker["types"] if not worker["gone"] else ():
            crew = found.setdefault(name, {"workers": 0, "slots": 0, "busy": 0, "taking": False})
            crew["workers"] += 1
            crew["slots"] += slots
            crew["busy"] += busy
            crew["taking"] = crew["taking"] or not paused
    return found
