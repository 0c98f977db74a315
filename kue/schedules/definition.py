"""The definition of a schedule: its job, its times, and what to do if one is missed or the last job still runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from ..errors import InvalidJob
from ..storage.arguments import check_type
from ..storage.codec import MS_MAX, check_text, check_whole, from_json, to_json
from ..text.humanize import duration_text

Overlap = Literal["skip", "allow", "replace"]
Missed = Literal["once", "skip", "all"]

OVERLAPS: Final = ("skip", "allow", "replace")
MISSED: Final = ("once", "skip", "all")
#: Longest name of a schedule.
NAME_MAX = 200
#: Longest cron expression.
CRON_MAX = 200
#: Shortest interval, ms.
EVERY_MIN_MS = 100
#: Longest interval and jitter, ms: ten years.
SPAN_MAX_MS = 10 * 366 * 86_400_000
#: The job options that a schedule accepts, like ``queue.create``.
OPTIONS: Final = ("title", "priority", "attempts", "backoff", "delay", "ttl", "remove_on_complete", "search_keys")
#: The members of the stored JSON, besides ``type``, ``data`` and ``options``.
_TIMES: Final = ("cron", "timezone", "every_ms", "at_ms", "start_ms", "end_ms", "limit", "jitter_ms")


class Schedule:
    """A schedule as declared: a name, the job to create, and one of ``cron``, ``every`` and ``at``.

    ``cron`` has five fields, or six with seconds first, and is in ``timezone`` (default "UTC"). ``every`` is a
    timedelta or ms, counted from ``start`` or the schedule's creation. ``at`` is a single datetime. ``start`` and
    ``end`` (datetimes) limit the times, ``limit`` the number of jobs. A naive datetime is in ``timezone`` if given,
    else in this machine's local time. ``jitter`` (timedelta or ms) delays each time by up to that much.

    ``overlap``: what to do if the last job has not ended: ``skip`` this time, ``allow`` both, or ``replace`` (cancel
    the last one). ``missed``: what to do about times without a running worker: create one job for all of them
    (``once``), ``skip`` them, or create one for each (``all``), at most for the newest hundred.

    The other keywords are job options: title, priority, attempts, backoff, delay, ttl, remove_on_complete, search_keys.
    Raises InvalidJob.
    """

    def __init__(
        self,
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
    ) -> None:
        self.name = check_name(name)
        #: The job's type; for a task, its name.
        self.type = check_text("type", check_type(job_type if isinstance(job_type, str) else _task_name(job_type)))
        #: The task, if given: it validates the data and has default options.
        self.task = job_type if callable(getattr(job_type, "create", None)) else None
        self.data = {} if data is None else data
        self.options = _check_options(options)
        self.timezone = timezone
        self.zone = _zone(timezone)
        if sum(each is not None for each in (cron, every, at)) != 1:
            raise InvalidJob('a schedule needs one of cron="0 3 * * *", every=timedelta(minutes=5) and at=datetime')
        self.cron = None if cron is None else _check_cron(cron)
        self.every_ms = None if every is None else _span("every", every, EVERY_MIN_MS)
        self.at_ms = self._epoch_ms("at", at)
        self.start_ms, self.end_ms = self._epoch_ms("start", start), self._epoch_ms("end", end)
        if self.start_ms is not None and self.end_ms is not None and self.end_ms < self.start_ms:
            raise InvalidJob("end lies before start")
        if limit is not None and check_whole("limit", limit, 2**31) == 0:
            raise InvalidJob("limit must be the number of jobs to create, at least 1, or None for no limit")
        self.limit = None if limit is None else int(limit)
        self.jitter_ms = _span("jitter", jitter, 0)
        if overlap not in OVERLAPS:
            raise InvalidJob(f"overlap must be one of {', '.join(OVERLAPS)}, not {overlap!r}")
        if missed not in MISSED:
            raise InvalidJob(f"missed must be one of {', '.join(MISSED)}, not {missed!r}")
        self.overlap, self.missed = overlap, missed

    def __repr__(self) -> str:
        return f"<Schedule {self.name}: {self.type} {self.when}>"

    @property
    def when(self) -> str:
        """The rule for display, such as ``cron 0 3 * * * (Europe/Berlin)``."""
        if self.cron is not None:
            return f"cron {self.cron} ({self.timezone or 'UTC'})"
        if self.every_ms is not None:
            return f"every {duration_text(self.every_ms).replace('.0 s', ' s')}"
        at = datetime.fromtimestamp((self.at_ms or 0) / 1000, self.zone or UTC)
        return f"at {at:%Y-%m-%d %H:%M:%S} ({self.timezone or 'UTC'})"

    def text(self) -> str:
        """Return the stored form: JSON that is identical for identical definitions."""
        times = {name: value for name in _TIMES if (value := getattr(self, name))}
        job = {"type": self.type, "data": self.data, "options": dict(sorted(self.options.items()))}
        return to_json({**job, **times, "overlap": self.overlap, "missed": self.missed})

    @classmethod
    def read(cls, name: str, text: str) -> Schedule:
        """Return the schedule from its stored form. Raises InvalidJob if it is invalid."""
        found = from_json(text)
        if not isinstance(found, dict) or not isinstance(found.get("options", {}), dict):
            raise InvalidJob(f"the definition of schedule {name!r} is not valid JSON")
        try:
            return cls(
                name, found.get("type"), found.get("data"), cron=found.get("cron"), timezone=found.get("timezone"),
                every=found.get("every_ms"), at=_date(found.get("at_ms")), start=_date(found.get("start_ms")),
                end=_date(found.get("end_ms")), limit=found.get("limit"), jitter=found.get("jitter_ms", 0),
                overlap=found.get("overlap", "skip"), missed=found.get("missed", "once"), **found.get("options", {}),
            )  # fmt: skip
        except (TypeError, ValueError, OverflowError) as exc:
            raise InvalidJob(f"the definition of schedule {name!r} is invalid: {exc}") from exc

    def _epoch_ms(self, what: str, when: datetime | None) -> int | None:
        if when is None:
            return None
        if not isinstance(when, datetime):
            raise InvalidJob(f"{what} must be a datetime, not {when!r}")
        if when.tzinfo is None and self.zone is not None:
            when = when.replace(tzinfo=self.zone)
        return int(when.timestamp() * 1000)


def check_name(name: object) -> str:
    """Return a schedule's name if it is valid; raise InvalidJob otherwise."""
    if not isinstance(name, str) or not name or len(name) > NAME_MAX or not name.isprintable():
        raise InvalidJob(f"a schedule's name must be a string of 1 to {NAME_MAX} characters, not {str(name)[:80]!r}")
    if name == "jobs" or name.endswith(":jobs"):  # q:schedule:jobs would be the wake-up tokens of a type "schedule"
        raise InvalidJob(
            f'a schedule cannot be named {name!r}: names that end with ":jobs" are keys of job types'
        )
    return check_text("a schedule's name", name)


def _task_name(task: Any) -> Any:
    name = getattr(task, "name", None)
    return name if isinstance(name, str) else task


def _check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    for name in options:
        if name not in OPTIONS:
            raise InvalidJob(f"a schedule has no option {name!r}; its job's options are {', '.join(OPTIONS)}")
    if isinstance(options.get("delay"), datetime):
        raise InvalidJob("a scheduled job's delay must be a number of ms; use at=… for a date")
    return {name: value for name, value in options.items() if value is not None}


def _zone(name: object) -> ZoneInfo | None:
    if name is None:
        return None
    try:
        if not isinstance(name, str):
            raise ValueError
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: ZoneInfoNotFoundError
        raise InvalidJob(f'timezone must be the name of a time zone such as "Europe/Berlin", not {name!r}') from None


def _check_cron(cron: object) -> str:
    if not isinstance(cron, str) or len(cron) > CRON_MAX:
        raise InvalidJob(f'cron must be an expression such as "0 3 * * *", not {str(cron)[:80]!r}')
    text = " ".join(cron.split())
    try:
        next(CronSim(text, datetime.now(UTC)))
    except (CronSimError, ValueError) as exc:
        raise InvalidJob(
            f'invalid cron {cron!r}: {exc}. Write minute, hour, day, month and weekday, such as "0 3 * * *"'
        ) from None
    except StopIteration:
        raise InvalidJob(f"cron {cron!r} matches no date in the next fifty years") from None
    return text


def _span(what: str, value: object, least_ms: int) -> int:
    if isinstance(value, timedelta):
        value = value / timedelta(milliseconds=1)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least_ms <= value <= SPAN_MAX_MS:
        raise InvalidJob(f"{what} must be a timedelta or ms, from {least_ms} ms to ten years, not {value!r}")
    return int(value)


def _date(ms: object) -> datetime | None:
    if ms is None:
        return None
    if isinstance(ms, bool) or not isinstance(ms, int) or not 0 <= ms <= MS_MAX:
        raise ValueError(f"{ms!r} is no time")
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
