"""The download limits as text for a form, and how to parse it."""

from __future__ import annotations

from typing import TypedDict

from flask import current_app

from kue.config.parsers import SIZE_UNITS, number_or_none, size_or_none
from kue.downloads import changed_limits
from kue.queue import Queue

#: The parser of each limit.
READERS = {"rate": size_or_none, "per_host": number_or_none, "min_free": size_or_none}


class LimitsView(TypedDict):
    """The limits as text for form fields: ``5M``, or empty for none."""

    rate: str
    per_host: str
    min_free: str


def limits_view(queue: Queue) -> LimitsView:
    """Return the limits as last changed, else those of this process's settings."""
    settings = current_app.config["KUE_SETTINGS"]
    changed = changed_limits(queue)

    def text(name: str) -> str:
        number = changed.get(name, getattr(settings, f"download_{name}"))
        return "" if not number else _short(number) if READERS[name] is size_or_none else str(number)

    return {"rate": text("rate"), "per_host": text("per_host"), "min_free": text("min_free")}


def _short(size: int) -> str:
    """Return a size in the form of the settings, with the largest exact unit."""
    for unit in ("t", "g", "m", "k"):
        if size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit.upper()}"
    return str(size)
