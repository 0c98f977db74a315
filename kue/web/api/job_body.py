"""Validate the body of `POST /job`, Kue's form of a job, and make the unsaved job."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kue.base_job import UNIQUE
from kue.errors import InvalidJob
from kue.storage.codec import PRIORITIES, is_truthy, to_json
from kue.storage.hash_fields import Unique
from kue.web.live.start_event import DOWNLOAD_TYPE, Refused, parse_download

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

NO_TYPE = "Must provide job type"

#: Members of a job, and its options.
MEMBERS = ("type", "data", "options")
OPTIONS = ("priority", "attempts", "delay", "ttl", "backoff", "removeOnComplete", "searchKeys", "unique")

#: Longest type, in characters; it is part of key names.
MAX_TYPE = 500


#: The usual forms of numbers that JavaScript parses.
NUMBER = re.compile(r"\s*[+-]?([0-9]{1,16}(\.[0-9]{0,16})?|\.[0-9]{1,16})(e[+-]?[0-9]{1,3})?\s*", re.IGNORECASE)


def _number(value: object, name: str) -> int | float | None:
    """Return a number, given as a number or as decimal text; None for values that Node ignores silently."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not math.isfinite(value) or abs(value) > 2**53 - 1:
        raise InvalidJob(f"{name} must be a number between -2^53 and 2^53")
    return int(value) if value == int(value) else value


def _attempts(value: object) -> int:
    """Return a number of attempts, parsed like JavaScript's parseInt; 0 (same as 1) for other text."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        match = re.match(r"\s*([+-]?[0-9]{1,16})", value)
        value = int(match.group(1)) if match else None
    return int(_number(value, "attempts") or 0)


def _type(value: object) -> str:
    """Return a job type; Node accepts numbers too. Raises InvalidJob with Node's message if it is missing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value:
        value = to_json(value)
    if value is None or value == "" or value is False or value == 0:
        raise InvalidJob(NO_TYPE)
    if not isinstance(value, str):
        raise InvalidJob("type must be a string")
    if len(value) > MAX_TYPE:
        raise InvalidJob(f"type is too long; the limit is {MAX_TYPE} characters")
    return value


def _priority(value: object) -> int | float:
    """Return a priority, by name or number. An unknown name is refused (Node stores it and loses the job)."""
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    number = _number(value, "priority")
    if number is None:
        raise InvalidJob("invalid priority")
    return number


def _backoff(value: object) -> dict[str, Any] | bool | None:
    """Return a backoff as data. A string is refused (Node evaluates it as JavaScript)."""
    if not is_truthy(value):
        return None
    if value is True:
        return True
    if not isinstance(value, dict) or not set(value) <= {"type", "delay", "maxDelay"}:
        raise InvalidJob("backoff must be true or {type, delay, maxDelay}, with type fixed or exponential")
    if value.get("type") not in ("fixed", "exponential"):
        raise InvalidJob("backoff.type must be fixed or exponential")
    backoff = dict(value)
    for name in ("delay", "maxDelay"):
        if name in value:
            number = _number(value[name], f"backoff.{name}")
            if number is None or number < 0:
                raise InvalidJob(f"backoff.{name} must be a number of milliseconds")
            backoff[name] = number
    return backoff


def _download(data: object, allow: Sequence[str]) -> object:
    """Return the data of a download job if its worker will accept it."""
    try:
        url = parse_download(data, allow).url
    except Refused as exc:
        raise InvalidJob(str(exc)) from None
    return {**data, "url": url} if isinstance(data, dict) else data


def parse_job(queue: Queue, asked: object, allow: Sequence[str] = ()) -> Job:
    """Return the unsaved job described by a member of the body. Raises InvalidJob with a message for the sender."""
    if not isinstance(asked, dict):
        raise InvalidJob(NO_TYPE)
    job_type = _type(asked.get("type"))
    data = asked.get("data")
    if job_type == DOWNLOAD_TYPE:
        data = _download(data, allow)
    job = queue.create(job_type, data if is_truthy(data) else None)  # as Node's API
    to_json(job.data)
    options = asked.get("options")
    if not isinstance(options, dict):  # as in Node: anything else means no options
        return job
    # Node ignores falsy options: 0, "", null.
    options = {name: value for name, value in options.items() if is_truthy(value)}
    if "attempts" in options:
        job.options.attempts = _attempts(options["attempts"])
    if "priority" in options:
        job.priority(_priority(options["priority"]))
    delay, ttl = _number(options.get("delay"), "delay"), _number(options.get("ttl"), "ttl")
    if delay is not None and delay > 0:
        job.options.delay_ms = delay  # may have a fraction, as in Node
    if ttl is not None and ttl > 0:
        job.options.ttl_ms = ttl
    job.remove_on_complete("removeOnComplete" in options)
    if "searchKeys" in options:
        keys = options["searchKeys"]
        keys = [keys] if isinstance(keys, str) else keys
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise InvalidJob("searchKeys must be a list of strings")
        job.search_keys(keys)
    if "unique" in options:
        _unique(job, options["unique"])
    backoff = _backoff(options.get("backoff"))
    if backoff is not None:
        job.backoff(backoff)
    return job


def ignored(asked: object) -> list[str]:
    """Return the unknown members and options of a job's body, such as ``options.atempts``, sorted.

    As in Node Kue they are not an error, since clients may send additional members; but a misspelled option should be
    noticed. Names are truncated printable ASCII.
    """
    if not isinstance(asked, dict):
        return []
    options = asked.get("options")
    unknown = [f"options.{name}" for name in (options.keys() - OPTIONS if isinstance(options, dict) else ())]
    unknown += asked.keys() - MEMBERS
    return sorted(ascii(name[:40])[1:-1] for name in unknown)


def _unique(job: Job, asked: object) -> None:
    """Apply the option ``unique``: true, or an object. Downloads are unique by their URL."""
    if asked is True and job.type == DOWNLOAD_TYPE:
        job.options.unique = Unique({"url": job.data["url"]}, of_data=True)
    elif asked is True:
        job.unique()
    elif isinstance(asked, dict):
        if unknown := asked.keys() - UNIQUE:
            raise InvalidJob(f"unique takes {', '.join(UNIQUE)}, not {min(unknown)}")
        job.unique(**asked)
    else:
        raise InvalidJob("unique must be true or false, or an object with key, until, for_ms, on_duplicate")
