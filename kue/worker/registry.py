"""The registry of worker processes, for the monitor and to rescue a dead process's jobs immediately."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..storage.epoch_time import server_ms
from ..storage.scripts import Scripts
from ..storage.worker_records import TypeInfo, read_entry, whole
from .attempts.log import log_rescues

#: Time from a worker's last heartbeat to its removal, ms; its jobs were rescued long before.
FORGET_MS = 24 * 3600 * 1000
#: Outside a container, process ids up to this belong to the kernel and the first services.
CONTAINER_PID_MAX = 300


class Registry:
    """This process's entry in ``q:workers``, and checks of the other entries.

    An entry is JSON: a WorkerInfo without ``worker``, with ``machine`` (boot and pid namespace: two containers may
    share a host's name, and neither can see the other's processes) and ``born`` (clock ticks since boot, since pids are
    reused). ``loop_lag_ms()`` returns the event loop lag, None without an event loop.
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

        Only the heartbeat's thread writes this process's entry and, at the end, removes it.
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
        lag_ms, memory_bytes = self._loop_lag_ms(), resident_bytes()
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
            **({} if memory_bytes is None else {"memory_bytes": memory_bytes}),
        }
        client.hset(self._key, self._worker, json.dumps(entry, separators=(",", ":")))

    def leave(self, client: Any) -> None:
        client.hdel(self._key, self._worker)


def is_dead(entry: dict[str, Any]) -> bool:
    """Return whether an entry belongs to a process of this machine that has certainly ended."""
    pid, began = entry.get("pid"), entry.get("born")
    if not machine() or entry.get("machine") != machine() or not isinstance(pid, int) or not began:
        return False
    found = born(pid)
    if found:
        return found != str(began)
    return found == "" or not _exists(pid)


def _exists(pid: int) -> bool:
    """Return whether a process exists, also where ``/proc`` hides other users' processes (hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def machine() -> str:
    """Return a string equal for processes that can see each other; "" if unknown (not Linux)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def born(pid: int) -> str | None:
    """Return a process's start time, clock ticks since boot; "" if it has ended, None if unknown."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the process name before it may contain anything
    return "" if fields[0] in ("Z", "X") else fields[19]


def resident_bytes() -> int | None:
    """Return the resident memory of this process, bytes; None if unknown (not Linux)."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def worker_name(host: str, pid: int, unique_id: str) -> str:
    """Return a worker process's name, in the form that Node's workers use.

    In a container, the process id is small and another container may have the same host name, so ``unique_id`` is
    appended.
    """
    return f"kue:{host}:{pid}" + (f".{unique_id}" if pid <= CONTAINER_PID_MAX else "")
