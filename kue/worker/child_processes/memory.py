"""The memory limit of a child process.

The limit applies to its resident memory (RSS, ``RES`` in ``top``), without the programs it starts. The parent checks
ten times a second and kills a child above its limit. Since a child can allocate a lot within a tenth of a second, its
data segment is limited too, to a higher value: beyond that, allocations fail with MemoryError.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

#: Interval of checking, seconds.
LOOK_S = 0.1
#: A child above this share of its limit after an attempt is replaced, so that the next attempt is not blamed.
WORN_SHARE = 0.75
#: Limit of the data segment: a multiple of the memory limit, plus bytes for thread stacks and arenas.
DATA_FACTOR, DATA_EXTRA_BYTES = 2, 256 * 2**20


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process, bytes; 0 if it has ended, or if unknown (not Linux)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def limit_data(limit_bytes: int) -> None:
    """Make this process's allocations fail well above its memory limit."""
    if resource is None:
        return
    wanted = DATA_FACTOR * limit_bytes + DATA_EXTRA_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))
