"""The machine: which core is whose, and what to say about it in a report."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path

#: From <linux/prctl.h>.
PR_SET_PDEATHSIG = 1
#: Loaded before any fork.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


#: Looked up before the bench pins itself to one of them.
_CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def cores() -> list[int]:
    return _CORES


def server_cores() -> set[int]:
    """The server has the first core for itself, as far as that is possible."""
    return set(cores()[:1])


def peer_cores(processes: int = 1) -> set[int]:
    """Producers and one worker process have the second core. Several processes have all but the server's, if there
    are enough; else they share the server's too, since two on one core would show nothing."""
    found = cores()
    if processes <= 1:
        return set(found[1:2] or found)
    return set(found[1:] if len(found) > processes else found)


def pin(pid: int, chosen: set[int]) -> None:
    """Keep a process (0: this one) on some cores, where the system can do that."""
    if chosen and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(pid, chosen)


def begin(chosen: set[int]) -> None:
    """Prepare a program that is about to start: on its cores, and ending with the bench, also with a killed one."""
    pin(0, chosen)
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def busy() -> bool:
    """Tell whether other programs use this machine."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.3 * len(cores() or [0])


def describe() -> str:
    """Return one line about this machine."""
    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{cpu_name()}, {len(cores()) or os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {sys.version.split()[0]}{load}"
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its threads so far, exact to the nanosecond where Linux tells."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
