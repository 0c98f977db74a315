"""Which worker processes there are, so that a new one on the same machine takes back at once what a dead one held."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from .scripts import Scripts

log = logging.getLogger("kue.registry")

#: Seconds after which a worker that was not seen is forgotten; its jobs are long rescued.
FORGET_S = 24 * 3600


class Registry:
    """This process's entry in ``q:workers``, and what the entries of others tell.

    An entry is JSON: ``machine`` (boot and pid namespace: two containers may share a host's name, and neither can see
    the other's processes), ``pid``, ``started`` (clock ticks since boot, since pids come round), ``seen`` (epoch s).
    """

    def __init__(self, scripts: Scripts, worker: str) -> None:
        self._scripts, self._key, self._worker = scripts, scripts.keys.workers, worker

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
            elif entry.get("seen", 0) + FORGET_S > time.time():
                continue
            client.hdel(self._key, worker)
        return rescued

    def beat(self, client: Any) -> None:
        """Say that this process is there."""
        entry = {"machine": machine(), "pid": os.getpid(), "started": started(os.getpid()), "seen": int(time.time())}
        client.hset(self._key, self._worker, json.dumps(entry, separators=(",", ":")))

    def leave(self, client: Any) -> None:
        client.hdel(self._key, self._worker)


def is_dead(entry: dict[str, Any]) -> bool:
    """Tell whether an entry is of a process of this machine that is certainly gone."""
    pid, began = entry.get("pid"), entry.get("started")
    if not machine() or entry.get("machine") != machine() or not isinstance(pid, int) or not began:
        return False
    return started(pid) != str(began)


def machine() -> str:
    """Return what only processes that see each other share; "" where the system does not say (not Linux)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; "" if it is gone or was never there."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return "" if fields[0] in ("Z", "X") else fields[19]


def _entry(text: str) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
