"""Problems of the queue, as sentences. An empty list means no problems."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kue.text.humanize import duration_text, size_text
from kue.web.present.worker_rows import CLOCK_OFF_MS, TypeCapacity, WorkerView

if TYPE_CHECKING:
    from kue.management.memory_usage import MemoryInfo
    from kue.management.statistics import LeaseInfo

#: Free bytes in the download folder below which the page warns.
DISK_LOW_BYTES = 1024**3
#: Share of maxmemory beyond which the page warns.
MEMORY_FULL = 0.9
#: A lease that expired this long ago, ms, should have been rescued.
RESCUE_LATE_MS = 15_000
#: How long the page warns about a lost worker, ms; the table shows it for longer.
LOST_MS = 15 * 60_000
#: Maximum number of types named individually.
MAX_NAMED = 5


def of_types(counts: dict[str, dict[str, int]], paused: set[str], capacity: dict[str, TypeCapacity]) -> list[str]:
    """Return why waiting jobs are not reserved."""
    found = []
    for name, each in sorted(counts.items()):
        if not each["inactive"]:
            continue
        one = each["inactive"] == 1
        waiting = f"{each['inactive']:,} job{'' if one else 's'} of type {name or '(no name)'} {'is' if one else 'are'}"
        slots = capacity.get(name)
        if name in paused:
            found.append(f"{waiting} waiting: the type is paused.")
        elif slots is None and not each["active"]:
            found.append(f"{waiting} waiting, but no worker processes that type.")
        elif slots is not None and not slots["taking"]:
            found.append(f"{waiting} waiting: all workers for the type are paused or shutting down.")
    more = len(found) - MAX_NAMED
    if more < 2:
        return found
    return [*found[:MAX_NAMED], f"Jobs of {more:,} more types are waiting: paused, or without a worker."]


def of_workers(workers: list[WorkerView]) -> list[str]:
    """Return which workers are lost or have a wrong clock."""
    found = []
    for worker in workers:
        name = f"Worker {worker['pid']} on {worker['host']}"
        if worker["lost"] and worker["since_heartbeat_ms"] < LOST_MS:
            since = duration_text(worker["since_heartbeat_ms"])
            found.append(f"{name} sent its last heartbeat {since} ago. Its jobs are being rescued.")
        elif not worker["lost"] and abs(worker["clock_off_ms"]) > CLOCK_OFF_MS:
            found.append(f"{name}: {_clock(worker['clock_off_ms'])}.")
    return found


def of_clock(off_ms: float) -> list[str]:
    """Return a warning about this web process's clock: job ages on its pages are then wrong, too."""
    return [f"This web server: {_clock(off_ms)}."] if abs(off_ms) > CLOCK_OFF_MS else []


def _clock(off_ms: float) -> str:
    return f"the clock is {duration_text(abs(off_ms))} {'ahead of' if off_ms > 0 else 'behind'} the clock of Redis"


def of_server(memory: MemoryInfo, leases: LeaseInfo, free: int | None, stale: str | None) -> list[str]:
    """Return the problems of Redis, the leases, the disk, and this process itself."""
    found = []
    used, limit = memory["used"], memory["limit"]
    if used and limit and used > MEMORY_FULL * limit:
        amount = f"{size_text(used)} of its {size_text(limit)} memory limit"
        found.append(f"Redis is using {amount}. New jobs will be rejected when it is full.")
    if limit and memory["policy"] not in (None, "noeviction"):
        found.append(f"Redis may evict job data (maxmemory-policy {memory['policy']}). Set it to noeviction.")
    if leases["late_ms"] > RESCUE_LATE_MS:
        late = duration_text(leases["late_ms"])
        found.append(f"A job's lease expired {late} ago and no worker is running to rescue it.")
    if free is not None and free < DISK_LOW_BYTES:
        found.append(f"Only {size_text(free)} of disk space is free for downloads.")
    if stale:
        found.append(f"Live updates are interrupted: {stale}.")
    return found
