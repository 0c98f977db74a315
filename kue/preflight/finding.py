"""A finding of a check before a deployment."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["error", "warning", "ok"]


class Finding(NamedTuple):
    """One finding. An error breaks something or loses jobs; a warning may be intended."""

    level: Level
    about: str
    """What was checked: settings, redis, download folder …"""
    what: str
    remedy: str = ""
    """What to do; empty if there is no problem."""


def error(about: str, what: str, remedy: str) -> Finding:
    return Finding("error", about, what, remedy)


def warning(about: str, what: str, remedy: str) -> Finding:
    return Finding("warning", about, what, remedy)


def ok(about: str, what: str) -> Finding:
    return Finding("ok", about, what)
