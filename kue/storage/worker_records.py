"""The entries of ``q:workers``: each worker process's own description, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from .codec import MS_MAX, from_json


class TypeInfo(TypedDict):
    """One job type of a worker process."""

    slots: int
    """Its concurrency for the type."""
    busy: int
    """Its running jobs of the type."""
    paused: bool
    """Whether it takes no new jobs, because of ``ctx.pause`` or because it is stopping."""


class WorkerInfo(TypedDict):
    """A worker process as of its last heartbeat. Times are epoch ms by Redis's clock."""

    worker: str
    """``kue:host:pid``, in a container ``kue:host:pid.id``: the beginning of the ``workerId`` of its jobs."""
    host: str
    pid: int
    started_at: int
    seen_at: int
    clock_off_ms: int
    """How far its own clock is ahead of Redis's, ms."""
    types: dict[str, TypeInfo]
    loop_lag_ms: int | None
    """Event loop lag, maximum over the last 15 s, ms; None without async handlers."""
    memory_bytes: int | None
    """Resident memory of the process, bytes; None where it is not known (not Linux)."""


def read_workers(entries: Mapping[str, str]) -> list[WorkerInfo]:
    """Return the valid entries of ``q:workers``, sorted by name; others are omitted."""
    found = []
    for worker, text in sorted(entries.items()):
        entry = read_entry(text)
        lag_ms, memory_bytes = whole(entry.get("loop_lag_ms")), whole(entry.get("memory_bytes"))
        figures = [whole(entry.get(name)) for name in ("pid", "started_at", "seen_at", "clock_off_ms")]
        host, types = entry.get("host"), entry.get("types")
        if None in figures or not isinstance(host, str) or not isinstance(types, dict):
            continue
        pid, started_at, seen_at, clock_off_ms = (each or 0 for each in figures)
        found.append(
            WorkerInfo(
                worker=worker,
                host=host,
                pid=pid,
                started_at=started_at,
                seen_at=seen_at,
                clock_off_ms=clock_off_ms,
                types={name: _type_info(value) for name, value in types.items() if isinstance(value, dict)},
                loop_lag_ms=None if lag_ms is None else max(0, lag_ms),
                memory_bytes=None if memory_bytes is None else max(0, memory_bytes),
            )  # fmt: skip
        )
    return found


def _type_info(entry: Mapping[str, Any]) -> TypeInfo:
    slots, busy = (max(0, whole(entry.get(name)) or 0) for name in ("slots", "busy"))
    return TypeInfo(slots=slots, busy=busy, paused=entry.get("paused") is True)


def whole(value: object) -> int | None:
    """Return the whole part of a number that JavaScript can hold; None for anything else."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and abs(value) <= MS_MAX else None  # type: ignore[arg-type, call-overload]


def read_entry(text: str) -> dict[str, Any]:
    """Return a parsed entry; {} if it is invalid."""
    entry = from_json(text)
    return entry if isinstance(entry, dict) else {}
