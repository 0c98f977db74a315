"""What `POST /job` takes: Kue's form of a job, checked, made into a job that is not yet saved."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from kue.codec import PRIORITIES, to_json
from kue.errors import InvalidJob

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

NO_TYPE = "Must provide job type"

#: Longest type, in characters; it is part of key names.
MAX_TYPE = 500


def _number(value: object, name: str) -> int | float | None:
    """Return a number given as one or as decimal text; None for what Node would silently take as none."""
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,16}(\.[0-9]{1,16})?\s*", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not math.isfinite(value) or abs(value) > 2**53 - 1:
        raise InvalidJob(f"{name} is not a number that can be kept")
    return int(value) if value == int(value) else value


def _type(value: object) -> str:
    """Return a job type; Node takes a number as well. Raises InvalidJob with Node's words if there is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value:
        value = to_json(value)
    if value is None or value == "" or value is False or value == 0:
        raise InvalidJob(NO_TYPE)
    if not isinstance(value, str):
        raise InvalidJob("type must be a text")
    if len(value) > MAX_TYPE:
        raise InvalidJob(f"type may have at most {MAX_TYPE} characters")
    return value


def _priority(value: object) -> int | float:
    """Return a priority by its name or as a number. Node stores an unknown word and loses the job: refused here."""
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    number = _number(value, "priority")
    if number is None:
        raise InvalidJob("invalid priority")
    return number


def _backoff(value: object) -> dict[str, Any] | bool | None:
    """Return a backoff as data; Node would evaluate a text as JavaScript, here it is refused."""
    if value is None or value is False:
        return None
    if value is True:
        return True
    if not isinstance(value, dict) or not set(value) <= {"type", "delay", "maxDelay"}:
        raise InvalidJob("backoff is true or {type, delay, maxDelay} with type fixed or exponential")
    if value.get("type") not in ("fixed", "exponential"):
        raise InvalidJob("backoff.type is fixed or exponential")
    for name in ("delay", "maxDelay"):
        if name in value:
            number = _number(value[name], f"backoff.{name}")
            if number is None or number < 0:
                raise InvalidJob(f"backoff.{name} is a number of milliseconds")
    return dict(value)


def new_job(queue: Queue, asked: object) -> Job:
    """Return the unsaved job that a member of the body asks for. Raises InvalidJob with a sentence for its sender."""
    if not isinstance(asked, dict):
        raise InvalidJob(NO_TYPE)
    job_type = _type(asked.get("type"))
    job = queue.create(job_type, asked.get("data"))
    to_json(job.data)
    options = asked.get("options")
    if options is None:
        return job
    if not isinstance(options, dict):
        raise InvalidJob("options must be an object")
    attempts = _number(options.get("attempts"), "attempts")
    if attempts is not None:
        job.attempts(max(1, int(attempts)))
    if options.get("priority") is not None:
        job.priority(_priority(options["priority"]))
    for name, apply in (("delay", job.delay), ("ttl", job.ttl)):
        wait = _number(options.get(name), name)
        if wait is not None and wait > 0:
            apply(int(wait))
    if options.get("removeOnComplete"):
        job.remove_on_complete(True)
    keys = options.get("searchKeys")
    if isinstance(keys, str):
        keys = [keys]
    if keys is not None:
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise InvalidJob("searchKeys is a list of texts")
        job.search_keys(keys)
    backoff = _backoff(options.get("backoff"))
    if backoff is not None:
        job.backoff(backoff)
    return job
