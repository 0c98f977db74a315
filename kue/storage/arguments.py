"""Validation of arguments. Each function raises InvalidJob, which names the argument and what to pass instead."""

from __future__ import annotations

import math
from typing import Any

from ..durations import in_seconds
from ..errors import InvalidJob
from ..states import EVENTS


def check_type(job_type: object) -> str:
    """Return a job's type: a non-empty string."""
    if not isinstance(job_type, str) or not job_type:
        raise InvalidJob(f'a job\'s type must be a non-empty string such as "email", not {job_type!r}')
    return job_type


def check_callable(fn: object, what: str) -> None:
    """Require a function; ``what`` names the argument in the error."""
    if not callable(fn):
        raise InvalidJob(f"{what} must be a function, not {fn!r}")


def check_job_event(event: object) -> str:
    """Return a job event's name, as in ``job.on``."""
    if event not in EVENTS:
        raise InvalidJob(f"a job has no event {event!r}; its events are {', '.join(EVENTS)}")
    return str(event)


def check_queue_event(event: str) -> str:
    """Return "error", or the job event's name for "job …" in ``queue.on``."""
    name = event.removeprefix("job ")
    if event != "error" and (name == event or name not in EVENTS):
        hint = f'write "job {event}"' if event in EVENTS else f"the events are error, job {', job '.join(EVENTS)}"
        raise InvalidJob(f"a queue has no event {event!r}; {hint}")
    return name


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
