"""The worker processes for the page: which are live, what they run, their problems."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from kue.queue import Queue
    from kue.storage.worker_records import WorkerInfo

#: Milliseconds without a heartbeat after which a worker counts as lost. It sends one each third of a lease, 10 s by
#: default.
LOST_AFTER_MS = 35_000
#: Clock difference, ms, from which the page warns: its times would look wrong.
CLOCK_OFF_MS = 2_000


class WorkerView(TypedDict):
    """A row of the table."""

    name: str
    host: str
    pid: int
    here: bool
    """Whether it is the process that handles this request."""
    types: list[tuple[str, int, int, bool]]
    """Type, busy slots, slots, whether the type is paused in it."""
    busy: int
    slots: int
    uptime_ms: int
    since_heartbeat_ms: int
    lost: bool
    clock_off_ms: int
    loop_lag_ms: int | None
    """Its event loop lag; None if it has no async handlers."""
    memory_bytes: int | None


class TypeCapacity(TypedDict):
    """The totals of all live workers for one type."""

    workers: int
    slots: int
    busy: int
    taking: bool
    """Whether any of them reserves new jobs."""


def worker_view(info: WorkerInfo, now_ms: float) -> WorkerView:
    since_heartbeat_ms = max(0, int(now_ms - info["seen_at"]))
    types = [(name, each["busy"], each["slots"], each["paused"]) for name, each in sorted(info["types"].items())]
    return {
        "name": info["worker"],
        "host": info["host"],
        "pid": info["pid"],
        "here": info["pid"] == os.getpid() and info["host"] == socket.gethostname(),
        "types": types,
        "busy": sum(busy for _, busy, _, _ in types),
        "slots": sum(slots for _, _, slots, _ in types),
        "uptime_ms": max(0, int(now_ms - info["started_at"])),
        "since_heartbeat_ms": since_heartbeat_ms,
        "lost": since_heartbeat_ms > LOST_AFTER_MS,
        "clock_off_ms": info["clock_off_ms"],
        "loop_lag_ms": info["loop_lag_ms"],
        "memory_bytes": info["memory_bytes"],
    }


def worker_views(queue: Queue) -> list[WorkerView]:
    """Return the workers, live ones first. Their times use Redis's clock, so they are compared with that."""
    now = queue.server_ms()
    views = (worker_view(info, now) for info in queue.workers())
    return sorted(views, key=lambda each: (each["lost"], each["name"]))


def capacity_by_type(workers: list[WorkerView], active: Mapping[str, int], leased: int) -> dict[str, TypeCapacity]:
    """Return the totals of the live workers for each type.

    Workers report their busy slots with each heartbeat, so these may be 10 s old. If all active jobs are ``leased``,
    which those of Node workers are not, ``active`` jobs by type tell how many slots are busy now.
    """
    found: dict[str, TypeCapacity] = {}
    for worker in workers:
        for name, busy, slots, paused in worker["types"] if not worker["lost"] else ():
            capacity = found.setdefault(name, {"workers": 0, "slots": 0, "busy": 0, "taking": False})
            capacity["workers"] += 1
            capacity["slots"] += slots
            capacity["busy"] += busy
            capacity["taking"] = capacity["taking"] or not paused
    if sum(active.values()) == leased:
        for name, capacity in found.items():
            capacity["busy"] = min(capacity["slots"], active.get(name, 0))
    return found
