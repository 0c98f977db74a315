"""The entries of ``q:workers``: what each worker process says of itself, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from .codec import MS_MAX, from_json


class TypeInfo(TypedDict):
    """What a worker process does of one job type."""

    slots: int
    """Jobs of the type that it runs at once."""
    busy: int
    """Jobs of the type that it runs now."""
    paused: bool
    """Whether it takes no new ones, by ``ctx.pause`` or because it is stopping."""


class WorkerInfo(TypedDict):
    """A worker process as it last described itself. Times are epoch ms by the clock of Redis."""

    worker: str
    """``kue:host:pid``, in a container ``kue:host:pid.id``: the beginning of the ``workerId`` of its jobs."""
    host: str
    pid: int
    started_at: int
    seen_at: int
    clock_off_ms: int
    """How far its own clock is ahead of that of Redis."""
    types: dict[str, TypeInfo]
    loop_lag_ms: int | None
    """How long tasks waited for its event loop at most, in the last 15 s; None if it has no async handlers."""


def read_workers(entries: Mapping[str, str]) -> list[WorkerInfo]:
    """Return the entries of ``q:workers`` that can be read, sorted by name; what is no entry of ours is left out."""
    found = []
    for worker, text in sorted(entries.items()):
        entry = read_entry(text)
        lag_ms = whole(entry.get("loop_lag_ms"))
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
    """Return an entry as it was written; {} for what is none."""
    entry = from_json(text)
    return entry if isinstance(entry, dict) else {}
