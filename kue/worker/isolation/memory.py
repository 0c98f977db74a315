"""The memory limit of a child process.

Measured is its resident memory, as ``top`` shows it under RES, without that of programs which it starts. The parent
looks ten times a second, and kills a child above its limit. Since a child may allocate much within a tenth of a second,
its data segment is limited too, well above: beyond that, allocations fail with MemoryError.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

#: Seconds between two looks.
LOOK_S = 0.1
#: A child whose memory stays above this share of its limit after an attempt is replaced: the next one is not to blame.
WORN_SHARE = 0.75
#: What the data segment may hold: a multiple of the limit, and bytes for stacks of threads and arenas.
DATA_FACTOR, DATA_EXTRA_BYTES = 2, 256 * 2**20


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it is gone, or the system does not tell (not Linux)."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def limit_data(limit_bytes: int) -> None:
    """Let this process's allocations fail well above its limit."""
    if resource is None:
        return
    wanted = DATA_FACTOR * limit_bytes + DATA_EXTRA_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))
