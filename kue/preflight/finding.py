"""What a check before a deployment has found."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["error", "warning", "ok"]


class Finding(NamedTuple):
    """One finding: an error keeps something from working, or loses jobs; a warning may be as it is meant."""

    level: Level
    about: str
    """What was looked at: settings, redis, download folder …"""
    what: str
    remedy: str = ""
    """What to do, empty if all is well."""


def error(about: str, what: str, remedy: str) -> Finding:
    return Finding("error", about, what, remedy)


def warning(about: str, what: str, remedy: str) -> Finding:
    return Finding("warning", about, what, remedy)


def ok(about: str, what: str) -> Finding:
    return Finding("ok", about, what)
