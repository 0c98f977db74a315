"""What is wrong, in sentences: nothing is said while all is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kue.web.present.humanize import duration_text, size_text
from kue.web.present.worker_rows import CLOCK_OFF_MS, Crew, WorkerView

if TYPE_CHECKING:
    from kue.management.memory_usage import MemoryInfo
    from kue.management.queries import LeaseInfo

#: Free bytes in the download folder below which the page warns.
DISK_LOW = 1024**3
#: Part of maxmemory beyond which the page warns.
MEMORY_FULL = 0.9
#: A lease so long over, ms, should have been rescued by somebody.
RESCUE_LATE_MS = 15_000
#: How long the page warns of a worker that went without a word, ms; the table goes on showing it.
LOST_MS = 15 * 60_000
#: Types that are named one by one.
MAX_NAMED = 5


def of_types(counts: dict[str, dict[str, int]], paused: set[str], crews: dict[str, Crew]) -> list[str]:
    """Return what keeps waiting jobs from being taken."""
    found = []
    for name, each in sorted(counts.items()):
        if not each["inactive"]:
            continue
        waiting = f"{each['inactive']:,} job{'' if each['inactive'] == 1 else 's'} of type {name or '(no name)'}"
        verb = "waits" if each["inactive"] == 1 else "wait"
        crew = crews.get(name)
        if name in paused:
            found.append(f"{waiting} {verb} because the type is paused.")
        elif crew is None and not each["active"]:
            found.append(f"{waiting} {verb} and no worker takes that type: start one.")
        elif crew is not None and not crew["taking"]:
            found.append(f"{waiting} {verb} and its workers take no new jobs.")
    more = len(found) - MAX_NAMED
    return [*found[:MAX_NAMED], f"{more:,} more types wait like that."] if more > 1 else found


def of_workers(workers: list[WorkerView]) -> list[str]:
    """Return which workers are lost or have a wrong clock."""
    found = []
    for worker in workers:
        name = f"The worker {worker['pid']} on {worker['host']}"
        if worker["gone"] and worker["silent_ms"] < LOST_MS:
            silent = duration_text(worker["silent_ms"])
            found.append(f"{name} was last heard of {silent} ago. Its jobs run again elsewhere.")
        elif not worker["gone"] and abs(worker["clock_off_ms"]) > CLOCK_OFF_MS:
            off = duration_text(abs(worker["clock_off_ms"]))
            way = "ahead of" if worker["clock_off_ms"] > 0 else "behind"
            found.append(f"{name} has a clock {off} {way} that of Redis.")
    return found


def of_clock(off_ms: float) -> list[str]:
    """Return that this web process's own clock is wrong: the ages of jobs on its pages are too."""
    if abs(off_ms) <= CLOCK_OFF_MS:
        return []
    way = "ahead of" if off_ms > 0 else "behind"
    return [f"This web server has a clock {duration_text(abs(off_ms))} {way} that of Redis."]


def of_server(memory: MemoryInfo, leases: LeaseInfo, free: int | None, stale: str | None) -> list[str]:
    """Return what is wrong with Redis, the leases, the disk, and this process itself."""
    found = []
    used, limit = memory["used"], memory["limit"]
    if used and limit and used > MEMORY_FULL * limit:
        found.append(f"Redis uses {size_text(used)} of the {size_text(limit)} it may: then no job can be made.")
    if limit and memory["policy"] not in (None, "noeviction"):
        found.append(f"Redis throws keys away when it is full ({memory['policy']}): set maxmemory-policy noeviction.")
    if leases["late_ms"] > RESCUE_LATE_MS:
        late = duration_text(leases["late_ms"])
        found.append(f"A worker lost its job {late} ago and no other worker process is there to take it back.")
    if free is not None and free < DISK_LOW:
        found.append(f"Only {size_text(free)} are free where downloads are kept.")
    if stale:
        found.append(f"The pages cannot be kept fresh: {stale}.")
    return found
