"""Format sizes, durations and HTTP statuses. Pure."""

from __future__ import annotations

from http import HTTPStatus

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def size(size_bytes: float) -> str:
    """Return ``3.1 MB``."""
    power = _power(size_bytes)
    return f"{_number(size_bytes, power)} {_unit(size_bytes, power)}"


def size_of(part_bytes: int, whole_bytes: int) -> str:
    """Return ``3.1 of 10.0 MB``, both in the unit of the whole."""
    power = _power(whole_bytes)
    return f"{_number(part_bytes, power)} of {_number(whole_bytes, power)} {_unit(whole_bytes, power)}"


def duration(seconds: float) -> str:
    """Return ``30 s``, ``5 min`` or ``2 h``."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{round(seconds / 60)} min" if seconds < 7200 else f"{round(seconds / 3600)} h"


def status(code: int) -> str:
    """Return ``404 Not Found``. The server's own phrase is not repeated: it may say anything."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _power(size_bytes: float) -> int:
    power = 0
    while size_bytes >= 1000 and power < len(_UNITS) - 1:
        size_bytes, power = size_bytes / 1000, power + 1
    return power


def _number(size_bytes: float, power: int) -> str:
    return f"{size_bytes / 1000**power:.1f}" if power else f"{int(size_bytes)}"


def _unit(size_bytes: float, power: int) -> str:
    return "byte" if power == 0 and size_bytes == 1 else _UNITS[power]
