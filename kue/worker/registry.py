"""The registry of worker processes: for the page, and so that jobs of a dead process are rescued at once."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..storage.scripts import Scripts
from ..storage.server_time import server_ms
from ..storage.worker_records import TypeInfo, read_entry, whole
from .attempt_log import log_rescues

#: Milliseconds after the last heartbeat until a worker is removed; its jobs were rescued long ago.
FORGET_MS = 24 * 3600 * 1000
#: Process ids up to this are those of the kernel and of the first services, except in a container.
CONTAINER_PID_MAX = 300


class Registry:
    """This process's entry in ``q:workers``, and what the entries of others tell.

    An entry is JSON: a WorkerInfo without ``worker``, with ``machine`` (boot and pid namespace: two containers may
    share a host's name, and neither can see the other's processes) and ``born`` (clock ticks since boot, since pids
    come round). ``loop_lag_ms()`` gives the event loop lag, None without an event loop.
    """

    def __init__(
        self,
        scripts: Scripts,
        worker: str,
        types: Callable[[], Mapping[str, TypeInfo]],
        loop_lag_ms: Callable[[], int | None],
    ) -> None:
        self._scripts, self._key, self._worker, self._types = scripts, scripts.keys.workers, worker, types
        self._loop_lag_ms = loop_lag_ms
        self._started_at = 0

    def reclaim(self, client: Any) -> list[str]:
        """Rescue the jobs of processes that died on this machine; return the ids.

        Entries are written by the heartbeat alone: one thread that beats and, at the end, leaves.
        """
        rescued: list[str] = []
        entries, now_ms = client.hgetall(self._key), server_ms(client)
        for worker, text in entries.items():
            entry = read_entry(text)
            if worker != self._worker and is_dead(entry):
                taken = self._scripts.rescue(client, dead_worker=worker)
                log_rescues(client, self._scripts.keys, taken, f"its worker {worker} died")
                rescued += taken
            elif (whole(entry.get("seen_at")) or 0) + FORGET_MS > now_ms:
                continue
            client.hdel(self._key, worker)
        return rescued

    def beat(self, client: Any) -> None:
        """Write this process's entry."""
        now_ms = server_ms(client)
        self._started_at = self._started_at or now_ms
        lag_ms = self._loop_lag_ms()
        entry = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": self._started_at,
            "seen_at": now_ms,
            "clock_off_ms": int(time.time() * 1000) - now_ms,
            "types": self._types(),
            "machine": machine(),
            "born": born(os.getpid()),
            **({} if lag_ms is None else {"loop_lag_ms": lag_ms}),
        }
        client.hset(self._key, self._worker, json.dumps(entry, separators=(",", ":")))

    def leave(self, client: Any) -> None:
        client.hdel(self._key, self._worker)


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


def worker_name(host: str, pid: int, unique_id: str) -> str:
    """Return the name of a worker process, as Node's workers have it.

    In a container a process id is small, and another container may have the same host name: there ``unique_id``
    follows the process id.
    """
    return f"kue:{host}:{pid}" + (f".{unique_id}" if pid <= CONTAINER_PID_MAX else "")
