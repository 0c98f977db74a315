"""The schedules of a queue in test mode: kept in this process for its tests, and never fired."""

from __future__ import annotations

from ..errors import ScheduleNotFound
from ..storage.epoch_time import now_ms
from .definition import Schedule
from .saved import SavedSchedule


class CollectedSchedules:
    """Schedules by name, as in Redis."""

    __test__ = False  # or pytest would collect it as a test

    def __init__(self) -> None:
        self._raw: dict[str, dict[str, str]] = {}

    def define(self, wanted: list[Schedule], owner: str, prune: bool) -> list[str]:
        for each in wanted:
            raw = self._raw.setdefault(each.name, {"created_at": str(now_ms())})
            if raw.get("definition") != each.text():
                raw.update(definition=each.text(), anchor=str(now_ms()))
                self._choose_next(each.name)
            if owner:
                raw["owner"] = owner
        names = {each.name for each in wanted}
        gone = [name for name, raw in self._raw.items() if raw.get("owner") == owner and name not in names]
        for name in gone if prune else ():
            del self._raw[name]
        return gone if prune else []

    def all(self) -> list[SavedSchedule]:
        return sorted(map(self.get, self._raw), key=lambda each: (each.next_at is None, each.next_at, each.name))

    def get(self, name: str) -> SavedSchedule:
        if name not in self._raw:
            raise ScheduleNotFound(name)
        return SavedSchedule(name, self._raw[name])

    def pause(self, name: str, paused: bool) -> bool:
        changed = self.get(name).paused != paused
        self._raw[name]["paused"] = "1" if paused else ""
        self._choose_next(name)
        return changed

    def remove(self, name: str) -> bool:
        return self._raw.pop(name, None) is not None

    def _choose_next(self, name: str) -> None:
        raw = self._raw[name]
        raw.pop("next_at", None)
        saved = SavedSchedule(name, raw)
        following = None if saved.paused else saved.first_time(now_ms())
        if following is not None:
            raw["next_at"] = str(following)
