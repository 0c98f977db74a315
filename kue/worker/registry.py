"""Which worker processes there are: for the page, and so that a new one takes back at once what a dead one held."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict

from ..storage.codec import MS_MAX, from_json
from ..storage.scripts import Scripts

log = logging.getLogger("kue.registry")

#: Milliseconds after which a worker that was not seen is forgotten; its jobs are long rescued.
FORGET_MS = 24 * 3600 * 1000


class TypeInfo(TypedDict):
    """What a worker process does of one job type."""

    slots: int
    """Jobs of the type that it runs at once."""
    busy: int
    """Jobs of the type that it runs now."""
    paused: bool
    """Whether it takes no new ones, by ``ctx.pause`` or because it is stopping."""


class WorkerInfo(TypedDict):
    """A worker process as it last told of itself. Times are epoch ms by the clock of Redis."""

    worker: str
    """``kue:host:pid``, in a container ``kue:host:pid.id``: the beginning of the ``workerId`` of its jobs."""
    host: str
    pid: int
    started_at: int
    seen_at: int
    clock_off_ms: int
    """How far its own clock is ahead of that of Redis."""
    types: dict[str, TypeInfo]


class Registry:
    """This process's entry in ``q:workers``, and what the entries of others tell.

    An entry is JSON: a WorkerInfo without ``worker``, with ``machine`` (boot and pid namespace: two containers may
    share a host's name, and neither can see the other's processes) and ``born`` (clock ticks since boot, since pids
    come round).
    """

    def __init__(self, scripts: Scripts, worker: str, types: Callable[[], Mapping[str, TypeInfo]]) -> None:
        self._scripts, self._key, self._worker, self._types = scripts, scripts.keys.workers, worker, types
        self._started_at = 0

    def reclaim(self, client: Any) -> list[str]:
        """Rescue the jobs of processes that died on this machine; return the ids.

        Entries are written by the heartbeat alone: one thread that beats and, at the end, leaves.
        """
        rescued: list[str] = []
        for worker, text in client.hgetall(self._key).items():
            entry = _entry(text)
            if worker != self._worker and is_dead(entry):
                taken = self._scripts.rescue(client, dead_worker=worker)
                for job_id in taken:
                    log.warning("rescue job %s: its worker %s is dead", job_id, worker)
                rescued += taken
            elif (_whole(entry.get("seen_at")) or 0) + FORGET_MS > time.time() * 1000:
                continue
            client.hdel(self._key, worker)
        return rescued

    def beat(self, client: Any) -> None:
        """Say that this process is there, and what it does."""
        seconds, micros = client.execute_command("TIME")
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        self._started_at = self._started_at or now_ms
        entry = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": self._started_at,
            "seen_at": now_ms,
            "clock_off_ms": int(time.time() * 1000) - now_ms,
            "types": self._types(),
            "machine": machine(),
            "born": born(os.getpid()),
        }
        client.hset(self._key, self._worker, json.dumps(entry, separators=(",", ":")))

    def leave(self, client: Any) -> None:
        client.hdel(self._key, self._worker)


def read(entries: Mapping[str, str]) -> list[WorkerInfo]:
    """Return the entries of ``q:workers`` that can be read, sorted by name; what is no entry of ours is left out."""
    found = []
    for worker, text in sorted(entries.items()):
        entry = _entry(text)
        figures = [_whole(entry.get(name)) for name in ("pid", "started_at", "seen_at", "clock_off_ms")]
        host, types = entry.get("host"), entry.get("types")
        if None in figures or not isinstance(host, str) or not isinstance(types, dict):
            continue
        pid, started_at, seen_at, clock_off_ms = (each or 0 for each in figures)
        found.append(
            WorkerInfo(
                worker=worker, host=host, pid=pid, started_at=started_at, seen_at=seen_at, clock_off_ms=clock_off_ms,
                types={name: _type_info(told) for name, told in types.items() if isinstance(told, dict)},
            )  # fmt: skip
        )
    return found


def _type_info(told: Mapping[str, Any]) -> TypeInfo:
    slots, busy = (max(0, _whole(told.get(name)) or 0) for name in ("slots", "busy"))
    return TypeInfo(slots=slots, busy=busy, paused=told.get("paused") is True)


def _whole(value: object) -> int | None:
    """Return the whole part of a number that JavaScript can hold; None for anything else."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and abs(value) <= MS_MAX else None  # type: ignore[arg-type, call-overload]


def is_dead(entry: dict[str, Any]) -> bool:
    """Tell whether an entry is of a process of this machine that is certainly gone."""
    pid, began = entry.get("pid"), entry.get("born")
    if not machine() or entry.get("machine") != machine() or not isinstance(pid, int) or not began:
        return False
    found = born(pid)
    if found:
        return found != str(began)
    return found == "" or not _exists(pid)


def _exists(pid: int) -> bool:
    """Tell whether there is such a process, also where ``/proc`` shows only one's own (hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def machine() -> str:
    """Return what only processes that see each other share; "" where the system does not say (not Linux)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def born(pid: int) -> str | None:
    """Return when a process started, in clock ticks since boot; "" if it has ended, None if there is nothing to see."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in ("Z", "X") else fields[19]


def _entry(text: str) -> dict[str, Any]:
    entry = from_json(text)
    return entry if isinstance(entry, dict) else {}
