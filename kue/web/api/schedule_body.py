"""Parse and validate the body that creates a schedule. Raises InvalidJob, which names the member."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from kue.config.parsers import duration_ms
from kue.errors import InvalidJob, ScheduleNotFound
from kue.queue import Queue
from kue.schedules import Schedule

#: Members of the body besides those of ``options``.
MEMBERS = ("name", "type", "data", "options", "cron", "timezone", "every", "at", "start", "end", "limit", "jitter",
           "overlap", "missed")  # fmt: skip
#: Job options: by their name in a body, as in Kue's JSON API, the name in Python.
OPTIONS = {
    "priority": "priority", "attempts": "attempts", "backoff": "backoff", "delay": "delay", "ttl": "ttl",
    "removeOnComplete": "remove_on_complete", "searchKeys": "search_keys",
}  # fmt: skip
#: Also accepts Python's names of the options, as returned by ``GET``, so that a response can be sent back.
_NAMES = {**OPTIONS, **{name: name for name in OPTIONS.values()}}


def parse_schedule(queue: Queue, asked: object) -> Schedule:
    """Return the schedule described by a body.

    Without ``data``, the data of the existing schedule of this name is used, if it has the same type: the data shown on
    a page may lack secrets.
    """
    if not isinstance(asked, dict) or not set(asked) <= set(MEMBERS):
        raise InvalidJob(f"send an object; its members may be {', '.join(MEMBERS)}")
    given = {name: value for name, value in asked.items() if value not in (None, "")}
    options = given.get("options", {})
    if not isinstance(options, dict) or not set(options) <= set(_NAMES):
        raise InvalidJob(f"options must be an object; its members may be {', '.join(OPTIONS)}")
    as_they_are = ("cron", "timezone", "limit", "overlap", "missed")
    rule: dict[str, Any] = {name: given[name] for name in as_they_are if name in given}
    rule |= {name: _duration(name, given[name]) for name in ("every", "jitter") if name in given}
    rule |= {name: _date(name, given[name]) for name in ("at", "start", "end") if name in given}
    rule |= {_NAMES[name]: value for name, value in options.items() if value not in (None, "")}
    wanted = Schedule(given.get("name", ""), given.get("type"), given.get("data"), **rule)
    if "data" not in asked:
        wanted.data = _known_data(queue, wanted)
    return wanted


def _known_data(queue: Queue, wanted: Schedule) -> Any:
    try:
        known = queue.get_schedule(wanted.name)
    except ScheduleNotFound:
        return {}
    return known.data if known.type == wanted.type else {}


def _duration(name: str, value: object) -> timedelta:
    """Parse ms, or a string such as ``5m``."""
    if isinstance(value, str):
        try:
            value = duration_ms(value)
        except ValueError as exc:
            raise InvalidJob(f"{name}: {exc}") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidJob(f'{name} must be a number of ms, or a string such as "5m", not {value!r}')
    try:
        return timedelta(milliseconds=value)
    except OverflowError:
        raise InvalidJob(f"{name} is too long") from None


def _date(name: str, value: object) -> datetime:
    """Parse epoch ms, or an ISO 8601 date; without an offset, it is in the schedule's time zone."""
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=value)
    except (ValueError, OverflowError):
        pass
    raise InvalidJob(f'{name} must be a date such as "2030-01-31T12:00", or epoch ms, not {value!r}')
