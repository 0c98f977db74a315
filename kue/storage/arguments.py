"""Validation of arguments. Each function raises InvalidJob, which names the argument and what to pass instead."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ..durations import in_seconds
from ..errors import InvalidJob
from ..states import EVENTS
from .codec import check_text

#: The largest whole number that Redis accepts as a rank or a count.
_WHOLE_MAX = 2**63 - 1


def check_type(job_type: object) -> str:
    """Return a job's type: a non-empty string."""
    if not isinstance(job_type, str) or not job_type:
        raise InvalidJob(f'a job\'s type must be a non-empty string such as "email", not {job_type!r}')
    return job_type if job_type.isascii() else check_text("a job's type", job_type)


def check_type_or_all(job_type: object) -> str | None:
    """Return a job's type, or None for all types."""
    return None if job_type is None else check_type(job_type)


def check_string(name: str, value: object, example: str) -> str:
    """Return a string that Redis can store; ``example`` is in the error."""
    if not isinstance(value, str):
        raise InvalidJob(f'{name} must be a string such as "{example}", not {value!r}')
    return check_text(name, value)


def check_rank(name: str, value: object) -> int:
    """Return a rank: a whole number from 0, or from -1 down, counted from the end."""
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _WHOLE_MAX:
        raise InvalidJob(f"{name} must be a whole number, not {value!r}; -1 is the last one")
    return value


def check_count(name: str, value: object) -> int:
    """Return a count: a whole number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _WHOLE_MAX:
        raise InvalidJob(f"{name} must be a whole number, 0 or more, not {value!r}")
    return value


def check_list(name: str, values: Any, example: str) -> list[Any]:
    """Return an iterable's items in a list. Strings and mappings are refused; ``example`` is in the error."""
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        raise InvalidJob(f"{name} must be a list such as {example}, not {values!r}")
    return list(values)


def check_callable(fn: object, what: str) -> None:
    """Require a function; ``what`` names the argument in the error."""
    if not callable(fn):
        raise InvalidJob(f"{what} must be a function, not {fn!r}")


def check_job_event(event: object) -> str:
    """Return a job event's name, as in ``job.on``."""
    if not isinstance(event, str) or event not in EVENTS:
        raise InvalidJob(f"a job has no event {event!r}; its events are {', '.join(EVENTS)}")
    return str(event)


def check_queue_event(event: object) -> str:
    """Return "error", or the job event's name for "job …" in ``queue.on``."""
    name = event.removeprefix("job ") if isinstance(event, str) else ""
    if event != "error" and (name == event or name not in EVENTS):
        hint = f'write "job {event}"' if name in EVENTS else f"the events are error, job {', job '.join(EVENTS)}"
        raise InvalidJob(f"a queue has no event {event!r}; {hint}")
    return name


def check_progress(done: object, total: object) -> None:
    """Require two numbers."""
    for name, value in (("done", done), ("total", total)):
        if not isinstance(value, (int, float)):
            raise InvalidJob(f"{name} must be a number, as in job.progress(3, 10), not {value!r}")


def check_timeout(timeout_s: Any) -> float | None:
    """Return a timeout, given in seconds or as a timedelta: seconds from 0, or None for no limit."""
    if timeout_s is None:
        return None
    seconds = in_seconds(timeout_s)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or math.isnan(seconds) or seconds < 0:
        raise InvalidJob(
            f"timeout_s must be a number of seconds, 0 or more, a timedelta, or None for no limit, not {timeout_s!r}"
        )
    return float(seconds)
