"""The doctor's checks and repairs of schedules."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import InvalidJob
from ..states import HOLD_UNTIL_MS
from ..storage.scripts import Scripts
from .saved import SavedSchedule
from .store import move


class Trouble(NamedTuple):
    """A problem of a schedule."""

    name: str
    what: str
    repair: str
    """What a repair does; "" if it cannot be repaired."""
    saved: SavedSchedule | None = None
    """The schedule as read, if a repair needs it."""


def examine(client: Any, scripts: Scripts, fix: bool, settle_s: float) -> Iterator[tuple[Trouble, bool]]:
    """Yield problems of schedules and whether they were repaired. A problem must be seen twice."""
    first = _look(client, scripts)
    if not first:
        return
    time.sleep(settle_s)
    again = {(each.name, each.what): each for each in _look(client, scripts)}
    for trouble in first:
        if (trouble.name, trouble.what) in again:
            trouble = again[trouble.name, trouble.what]
            yield trouble, bool(fix and trouble.repair and _repair(client, scripts, trouble))


def _look(client: Any, scripts: Scripts) -> list[Trouble]:
    keys = scripts.keys
    prefix = keys.schedule("")
    if client.type(keys.schedules) not in ("zset", "none"):
        return [Trouble("", f"{keys.schedules} is not a sorted set, so no schedule fires", "")]
    due = dict(client.zrange(keys.schedules, 0, -1, withscores=True))
    pattern = "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in prefix)
    names = {key.removeprefix(prefix) for key in client.scan_iter(match=f"{pattern}*", count=1000)}
    names = {name for name in names if name != "jobs" and not name.endswith(":jobs")}  # wake-up tokens of types
    return [trouble for name in sorted({*due, *names}) if (trouble := _trouble(client, keys.schedule(name), name, due))]


def _trouble(client: Any, key: str, name: str, due: dict[str, float]) -> Trouble | None:
    kind = client.type(key)
    if kind == "none":
        return Trouble(name, "is listed to fire, but does not exist", "removed from the list")
    if kind != "hash":
        return Trouble(name, f"its key is a {kind}, not a hash", "")
    try:
        saved = SavedSchedule(name, client.hgetall(key))
    except InvalidJob as exc:
        return Trouble(name, f"it does not fire: {exc}", "")
    expected = HOLD_UNTIL_MS if saved.due_at is None else saved.due_at
    if saved.paused and saved.next_at is not None:
        return Trouble(name, "it is paused, but has a next time", "the next time is removed", saved)
    if name not in due:
        return Trouble(name, "it is not listed to fire", "put in", saved)
    if due[name] != expected:
        return Trouble(name, "it is listed to fire at a different time", "the time is corrected", saved)
    return None


def _repair(client: Any, scripts: Scripts, trouble: Trouble) -> bool:
    """Repair it, unless it has changed meanwhile."""
    if trouble.saved is None:
        return bool(client.zrem(scripts.keys.schedules, trouble.name))
    following = None if trouble.saved.paused else trouble.saved.next_at
    return move(scripts, client, trouble.name, "repair", trouble.saved, following) == 1
