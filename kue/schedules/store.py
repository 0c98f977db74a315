"""Create, change, list and remove schedules. They are fired in firing.py."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from copy import copy
from datetime import datetime, timedelta
from typing import Any, Generic

from ..base_job import J
from ..errors import InvalidJob, KueError, ScheduleNotFound
from ..storage.arguments import check_count, check_list, check_string
from ..storage.codec import to_json
from ..storage.epoch_time import now_ms, server_ms
from ..storage.session import Session
from . import times
from .collected import CollectedSchedules
from .definition import Missed, Overlap, Schedule, check_name
from .owner import ScheduleOwner
from .saved import SavedSchedule, sha

#: Tries of a concurrent change: each failure means that another process's change succeeded.
TRIES_MAX = 50


class Schedules(Generic[J]):
    """The schedules of one queue."""

    def __init__(self, session: Session, owner: ScheduleOwner[J]) -> None:
        self._session, self._owner = session, owner
        self._keys, self._scripts = session.keys, session.scripts
        self._collected = CollectedSchedules()

    def schedule(
        self,
        /,
        name: str,
        job_type: Any,
        data: Any = None,
        *,
        cron: str | None = None,
        timezone: str | None = None,
        every: timedelta | float | None = None,
        at: datetime | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = None,
        jitter: timedelta | float = 0,
        overlap: Overlap = "skip",
        missed: Missed = "once",
        **options: Any,
    ) -> SavedSchedule:
        """Create jobs of a type by ``cron``, ``every`` interval, or ``at`` a time; replaces the schedule of that name.

        The arguments are those of ``kue.Schedule``. A saved schedule with the same definition keeps its next time; a
        changed one continues with the next time from now. Any process with workers fires it. Raises InvalidJob.
        """
        wanted = Schedule(
            name, job_type, data, cron=cron, timezone=timezone, every=every, at=at, start=start, end=end, limit=limit,
            jitter=jitter, overlap=overlap, missed=missed, **options,
        )  # fmt: skip
        return self.save_schedule(wanted)

    def save_schedule(self, wanted: Schedule) -> SavedSchedule:
        """Save a ``kue.Schedule``, like ``schedule``."""
        _check_schedule(wanted)
        self._define([wanted], "", prune=False)
        return self.get_schedule(wanted.name)

    def declare(self, wanted: Iterable[Schedule], owner: str) -> list[str]:
        """Atomically replace the schedules of ``owner``; return the names of removed ones."""
        listed = self.check_declared(wanted)
        if not check_string("the owner of schedules", owner, "billing"):
            raise InvalidJob('the owner of schedules must be a string such as "billing", not empty')
        return self._define(listed, owner, prune=True)

    def check_declared(self, wanted: Iterable[Schedule]) -> list[Schedule]:
        """Return schedules in a list. Raises InvalidJob if they cannot be declared together."""
        listed = check_list("schedules", wanted, "[kue.Schedule(name, type, …)]")
        seen = set()
        for each in listed:
            _check_schedule(each)
            if each.name in seen:
                raise InvalidJob(f"there are two schedules named {each.name!r}; give one of them another name")
            seen.add(each.name)
            job_of(self._owner, each)
        return listed

    def schedules(self) -> list[SavedSchedule]:
        """Return all schedules, the next to fire first, paused and ended ones last."""
        if self._collects:
            return self._collected.all()
        names = self._session.read_one("ZRANGE", self._keys.schedules, 0, -1, default=[])
        found = []
        for name, raw in zip(names, self._read(names), strict=True):
            with suppress(InvalidJob):  # invalid: the doctor reports it
                found.append(SavedSchedule(name, raw))
        return found

    def schedule_count(self) -> int:
        """Return the number of schedules, including paused and ended ones."""
        if self._collects:
            return len(self._collected.all())
        return int(self._session.read_one("ZCARD", self._keys.schedules, default=0))

    def preview_schedule(self, wanted: Schedule, count: int = 10) -> list[int]:
        """Return the first times that a schedule would have if saved now, epoch ms, without jitter."""
        _check_schedule(wanted)
        check_count("count", count)
        if self._collects:
            return times.preview(wanted, now_ms(), now_ms(), count)

        def read(client: Any) -> list[int]:
            anchor = now = server_ms(client)
            raw = self._read([wanted.name])[0]
            if wanted.every_ms is not None and "definition" in raw:
                anchor = _kept_anchor(wanted, raw["definition"], raw, now)
            return times.preview(wanted, anchor, now, count)

        found: list[int] = self._session.call(read)
        return found

    def get_schedule(self, name: str) -> SavedSchedule:
        """Return a schedule. Raises ScheduleNotFound."""
        check_name(name)
        if self._collects:
            return self._collected.get(name)
        raw = self._read([name])[0]
        if "definition" not in raw:
            raise ScheduleNotFound(name)
        return SavedSchedule(name, raw)

    def pause_schedule(self, name: str) -> bool:
        """Pause a schedule until ``resume_schedule``; return whether it was active.

        A declared one stays paused when it is declared again. Raises ScheduleNotFound.
        """
        check_name(name)
        if self._collects:
            return self._collected.pause(name, True)
        return self._checked(name, self._session.call(lambda client: self._move(client, name, "pause")))

    def resume_schedule(self, name: str) -> bool:
        """Resume a paused schedule with its next time from now; return whether it was paused.

        Times during the pause are skipped, except an ``at`` that passed meanwhile. Raises ScheduleNotFound.
        """
        check_name(name)
        if self._collects:
            return self._collected.pause(name, False)

        def resume(client: Any, now_ms: int) -> int | None:
            saved = self.get_schedule(name)
            if not saved.paused:
                return 0
            # 0 from the script means that it changed meanwhile.
            return self._move(client, name, "resume", saved, saved.first_time(now_ms)) or None

        return self._checked(name, self._try(name, resume))

    def run_schedule_now(self, name: str) -> J:
        """Create a schedule's job now and return it, even if the schedule is paused or a job still runs.

        The schedule's times do not change. Raises ScheduleNotFound.
        """
        check_name(name)
        definition = self.get_schedule(name).definition
        job = job_of(self._owner, definition)
        if self._collects:
            self._owner.create([job])
            return job
        row, lane = self._owner.row(job), self._keys.lane(f"schedule-{secrets.token_hex(8)}")
        job_id = int(
            self._session.call(lambda client: self._scripts.run(client, "run_schedule", lane, name, 1, *row))
        )
        if job_id < 0:
            raise ScheduleNotFound(name)
        return self._owner.get(job_id)

    def unschedule(self, name: str) -> bool:
        """Remove a schedule but not its jobs; return whether it existed."""
        check_name(name)
        if self._collects:
            return self._collected.remove(name)

        def remove(client: Any) -> bool:
            pipe = client.pipeline(transaction=True)
            pipe.zrem(self._keys.schedules, name)
            pipe.delete(self._keys.schedule(name))
            return any(pipe.execute())

        return bool(self._session.call(remove))

    # Internal

    @property
    def _collects(self) -> bool:
        return bool(self._owner.test_mode.collecting)

    def _read(self, names: list[str]) -> list[dict[str, str]]:
        return self._session.read_each([("HGETALL", self._keys.schedule(name)) for name in names], default={})

    def _define(self, wanted: list[Schedule], owner: str, *, prune: bool) -> list[str]:
        wanted = [_with_checked_options(self._owner, each) for each in wanted]
        texts = {each.name: each.text() for each in wanted}
        if self._collects:
            return self._collected.define(wanted, owner, prune)

        def define(client: Any, now_ms: int) -> list[str] | None:
            known = self._read([each.name for each in wanted])
            asked = [_to_define(each, texts[each.name], raw, now_ms) for each, raw in zip(wanted, known, strict=True)]
            done, answer = self._scripts.run(
                client, "define_schedules", owner, int(prune), *(to_json(each) for each in asked)
            )
            return list(answer) if done else None

        removed: list[str] = self._try(", ".join(texts), define)
        return removed

    def _try(self, what: str, change: Callable[[Any, int], Any]) -> Any:
        """Return the result of ``change(client, now_ms)``; retry while it returns None after a concurrent change."""
        for _ in range(TRIES_MAX):
            answer = self._session.call(lambda client: change(client, server_ms(client)))
            if answer is not None:
                return answer
        raise KueError(f"schedule {what} is being changed by other processes; try again")

    def _move(
        self, client: Any, name: str, verb: str, saved: SavedSchedule | None = None, following: int | None = None
    ) -> int:
        return move(self._scripts, client, name, verb, saved, following)

    @staticmethod
    def _checked(name: str, code: int) -> bool:
        if code < 0:
            raise ScheduleNotFound(name)
        return bool(code)


def move(
    scripts: Any, client: Any, name: str, verb: str, saved: SavedSchedule | None, following: int | None
) -> int:
    """Call ``move_schedule.lua`` for a schedule as read."""
    known = ("", "") if saved is None else (saved.sha, _text(saved.next_at))
    due = "" if saved is None or following is None else str(times.due(saved.definition, following))
    return int(scripts.run(client, "move_schedule", name, verb, *known, _text(following), due))


def _check_schedule(wanted: object) -> None:
    if not isinstance(wanted, Schedule):
        raise InvalidJob(f"a schedule must be a kue.Schedule(name, type, …), not {wanted!r}")


def job_of(owner: ScheduleOwner[J], definition: Schedule) -> J:
    """Return an unsaved job of a schedule. Raises InvalidJob."""
    data = dict(definition.data) if isinstance(definition.data, dict) else definition.data  # a title goes into it
    if definition.task is None:
        return owner.job_class.from_options(owner, definition.type, data, definition.options)
    if not isinstance(data, dict):
        raise InvalidJob(f"schedule {definition.name!r}: a task's data must be a dict of its arguments, not {data!r}")
    job: J = definition.task.create(**data)
    job.set_options(definition.options)
    return job


def _with_checked_options(owner: ScheduleOwner[Any], wanted: Schedule) -> Schedule:
    """Return a schedule with its options in stored form. Raises InvalidJob for invalid options."""
    job = job_of(owner, wanted)
    options = job.options
    stored = {
        "priority": options.priority, "attempts": options.attempts if options.attempts != 1 else 0,
        "backoff": options.backoff, "delay": options.delay_ms, "ttl": options.ttl_ms,
        "remove_on_complete": options.remove_on_complete, "search_keys": options.search_keys,
    }  # fmt: skip
    wanted = copy(wanted)
    wanted.data, wanted.options = job.data, {name: value for name, value in stored.items() if value}
    return wanted


def _to_define(wanted: Schedule, text: str, raw: Mapping[str, str], now_ms: int) -> dict[str, str]:
    """Return the arguments of ``define_schedules.lua`` for a schedule whose hash in Redis is ``raw``."""
    known = raw.get("definition", "")
    asked = {"name": wanted.name, "definition": text, "sha": sha(known), "next_at": raw.get("next_at", "")}
    anchor, following = now_ms, None
    if text != known:
        saved = SavedSchedule(wanted.name, {**raw, "definition": text, "anchor": str(now_ms)})
        if known and wanted.every_ms is not None:
            anchor = saved.anchor = _kept_anchor(wanted, known, raw, now_ms)
        following = saved.first_time(now_ms)
    due = "" if following is None else str(times.due(wanted, following))
    return {**asked, "anchor": str(anchor), "following": _text(following), "following_due": due}


def _kept_anchor(wanted: Schedule, known: str, raw: Mapping[str, str], now_ms: int) -> int:
    """Return the start of an interval schedule: unchanged if only other parts of the schedule changed."""
    try:
        before = SavedSchedule(wanted.name, {**raw, "definition": known})
    except InvalidJob:
        return now_ms
    return before.anchor if before.definition.every_ms == wanted.every_ms else now_ms


def _text(number: int | None) -> str:
    return "" if number is None else str(number)
