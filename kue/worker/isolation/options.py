"""The process isolation options of ``queue.process``."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import InvalidJob

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
#: Smallest memory limit, bytes: an interpreter with this library needs about 40 MB before the handler runs.
MEMORY_MIN = 64 * 2**20


class Isolation(NamedTuple):
    """Process isolation of one handler. None: no limit."""

    memory_limit_bytes: int | None = None
    #: Attempts after which a child is replaced.
    max_jobs: int | None = None
    #: Whether children are started before the first attempt.
    prestart: bool = True


def check_isolation(isolation: object, memory_limit: object, max_jobs: object, prestart: object) -> bool:
    """Return whether attempts run in child processes. Raises InvalidJob for invalid options."""
    if isolation not in (None, "process"):
        raise InvalidJob(f'isolation must be "process" or omitted, not {isolation!r}')
    if isolation is None and (memory_limit is not None or max_jobs is not None or prestart is not True):
        raise InvalidJob('memory_limit, max_jobs and prestart need isolation="process"')
    if max_jobs is not None and (not isinstance(max_jobs, int) or isinstance(max_jobs, bool) or max_jobs < 1):
        raise InvalidJob(f"max_jobs must be a whole number of attempts, at least 1, not {max_jobs!r}")
    if not isinstance(prestart, bool):
        raise InvalidJob(f"prestart must be True or False, not {prestart!r}")
    return isolation == "process"


def size_bytes(size: int | str | None) -> int | None:
    """Return a memory limit in bytes, from a number of bytes or a string such as "512M" or "2G" (powers of 1024)."""
    if size is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", str(size).lower())
    if match is None or isinstance(size, bool):
        raise InvalidJob(f'memory_limit must be a number of bytes or a string such as "512M", not {size!r}')
    count = int(float(match[1]) * _UNITS[match[2]])
    if count < MEMORY_MIN:
        raise InvalidJob(f"memory_limit must be at least {size_text(MEMORY_MIN)}: Python itself needs about half of it")
    return count


def size_text(count: int) -> str:
    """Return a memory limit for display: "512 MB"."""
    return f"{count / 2**30:g} GB" if count >= 2**30 and count % 2**27 == 0 else f"{count / 2**20:.0f} MB"


def exceeded(limit_bytes: int) -> str:
    """Return the error of an attempt that exceeded its memory limit."""
    return f"The handler's process exceeded its memory limit of {size_text(limit_bytes)}"
