"""Fire the schedules that are due: a maintenance task of any process with workers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ..connection.failures import is_transient
from ..errors import InvalidJob
from ..storage.codec import to_json
from ..storage.epoch_time import server_ms
from ..storage.script_task import ScriptTask
from ..storage.session import Session
from . import times
from .definition import Schedule
from .owner import ScheduleOwner
from .saved import SavedSchedule, hole_text
from .store import job_of, move

log = logging.getLogger("kue.schedules")

#: Longest poll interval, seconds: a new schedule may be due before the known ones.
LOOK_S = 0.2
#: Maximum number of schedules fired per poll: a few ms of the server's time.
BATCH = 100
#: Difference between the server's clock and this process's that counts as a forward jump, ms.
JUMP_MS = 3000
#: Replies of fire_schedule.lua if the schedule was unchanged.
CREATED, LEFT_OUT, SKIPPED, REFUSED = 1, 2, 3, 4
#: Smaller backward steps are ordinary clock corrections, ms.
BACK_MS = 1000


class Firing:
    """Fires due schedules; the first process to do so wins. Times are the server's."""

    def __init__(self, session: Session, owner: ScheduleOwner[Any], before: Callable[[], object]) -> None:
        """``before`` is called first at each poll: it saves the program's declared schedules."""
        self._before = before
        #: A maintenance task: fire due schedules.
        self.run = ScriptTask("Firing.run", session.scripts, self._script, self._fire_due)
        self._owner, self._scripts, self._keys = owner, session.scripts, session.keys
        #: By name and stored form.
        self._definition = lru_cache(maxsize=1000)(Schedule.read)
        self._row = lru_cache(maxsize=1000)(self._new_row)
        #: At the last poll: the server's time and this process's, ms.
        self._seen: tuple[int, float] | None = None
        self._jumped: tuple[int, int] | None = None
        #: Schedules that could not be parsed or fired, and why, so that each is logged once.
        self._told: set[tuple[str, str]] = set()

    def _script(self) -> tuple[str, int]:
        self._before()
        return "due_schedules", BATCH

    def _fire_due(self, client: Any, reply: list[Any]) -> float:
        now_ms, next_ms, found = reply
        if self._was_set_back(now_ms):
            self._choose_anew(client)
        due = [saved for name, raw in found if (saved := self._readable(name, raw)) and saved.next_at is not None]
        if due and self._fire(client, due, now_ms):
            return 0.0
        return LOOK_S if next_ms < 0 else min(LOOK_S, max(0.001, (next_ms - now_ms) / 1000))

    def _was_set_back(self, now_ms: int) -> bool:
        """Check the server's clock; return whether it was set back, or may have been (at the first poll)."""
        own_ms, seen = time.monotonic() * 1000, self._seen
        self._seen = now_ms, own_ms
        if seen is None:
            return True
        if now_ms - seen[0] - (own_ms - seen[1]) > JUMP_MS:
            self._jumped = seen[0], now_ms
        return now_ms < seen[0] - BACK_MS

    def _choose_anew(self, client: Any) -> None:
        """Move each schedule to its first time from now, in case the clock had been ahead."""
        names = client.zrange(self._keys.schedules, 0, -1)
        all_saved = [self._readable(name, client.hgetall(self._keys.schedule(name))) for name in names]
        now_ms = server_ms(client)  # after them: one that was just created would otherwise seem to be due
        for name, saved in zip(names, all_saved, strict=True):
            if saved is None or saved.paused:
                continue
            following = saved.first_time(now_ms)
            if following is not None and (saved.next_at is None or following < saved.next_at):
                move(self._scripts, client, name, "move", saved, following)

    def _readable(self, name: str, raw: Any) -> SavedSchedule | None:
        fields = raw if isinstance(raw, dict) else dict(zip(raw[::2], raw[1::2], strict=True))
        try:
            return SavedSchedule(name, fields, self._definition(name, fields.get("definition", "")))
        except InvalidJob as exc:  # created by a newer version, or by hand
            self._tell(name, exc)
            return None

    def _fire(self, client: Any, due: list[SavedSchedule], now_ms: int) -> bool:
        """Fire all in one round trip; return whether all succeeded."""
        calls = [(saved.name, self._arguments(saved, now_ms)) for saved in due]
        answers = self._scripts.run_each(client, "fire_schedule", [call for _, call in calls])
        all_fired = True
        for (name, _), answer in zip(calls, answers, strict=True):
            if isinstance(answer, Exception):
                if is_transient(answer):
                    raise answer
                self._tell(name, answer)
                all_fired = False
            elif answer[0] == CREATED:
                log.debug("Schedule %s created job %s", name, answer[1])
            elif answer[0] == LEFT_OUT:
                log.info("Schedule %s skipped a time: its last job has not ended", name)
            elif answer[0] == SKIPPED:
                log.info("Schedule %s skipped missed times", name)
            elif answer[0] == REFUSED:
                self._tell(name, answer[1])
        return all_fired

    def _tell(self, name: str, why: object) -> None:
        if (name, str(why)) not in self._told:
            self._told.add((name, str(why)))
            log.warning("Schedule %s cannot fire: %s", name, why)

    def _arguments(self, saved: SavedSchedule, now_ms: int) -> list[object]:
        """Return the arguments of ``fire_schedule.lua``."""
        schedule, first = saved.definition, saved.next_at or 0
        plan = times.plan(schedule, saved.anchor, first, now_ms, saved.handled, self._jumped)
        asked = {
            "name": saved.name,
            "sha": saved.sha,
            "next_at": str(first),
            "fires": "" if plan.fires is None else str(plan.fires),
            "due": "" if plan.fires is None else str(times.due(schedule, plan.fires)),
            "overlap": schedule.overlap,
            "until": str(plan.handled.until),
            "hole": hole_text(plan.handled),
            "following": "" if plan.next is None else str(plan.next),
            "following_due": "" if plan.next is None else str(times.due(schedule, plan.next)),
            "limit": "" if schedule.limit is None else str(schedule.limit),
        }
        return ["", to_json(asked), 1, *self._row(saved.name, saved.text)]

    def _new_row(self, name: str, text: str) -> tuple[str, ...]:
        """Return the scripts' arguments for a schedule's job."""
        return self._owner.row(job_of(self._owner, self._definition(name, text)))
