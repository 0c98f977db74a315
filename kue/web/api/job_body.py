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


#: What JavaScript reads as a number, as far as people write one.
NUMBER = re.compile(r"\s*[+-]?([0-9]{1,16}(\.[0-9]{0,16})?|\.[0-9]{1,16})(e[+-]?[0-9]{1,3})?\s*", re.IGNORECASE)


def _number(value: object, name: str) -> int | float | None:
    """Return a number given as one or as decimal text; None for what Node would silently take as none."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not math.isfinite(value) or abs(value) > 2**53 - 1:
        raise InvalidJob(f"{name} must be a number between -2^53 and 2^53")
    return int(value) if value == int(value) else value


def _attempts(value: object) -> int:
    """Return a number of attempts, read as JavaScript's parseInt does; 0, as good as 1, for what begins with none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        match = re.match(r"\s*([+-]?[0-9]{1,16})", value)
        value = int(match.group(1)) if match else None
    return int(_number(value, "attempts") or 0)


def _type(value: object) -> str:
    """Return a job type; Node takes a number as well. Raises InvalidJob with Node's words if there is none."""
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
    """Return a priority by its name or as a number. Node stores an unknown word and loses the job: refused here."""
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    number = _number(value, "priority")
    if number is None:
        raise InvalidJob("invalid priority")
    return number


def _backoff(value: object) -> dict[str, Any] | bool | None:
    """Return a backoff as data; Node would evaluate a text as JavaScript, here it is refused."""
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
    """Return the unsaved job that a member of the body asks for. Raises InvalidJob with a sentence for its sender."""
    if not isinstance(asked, dict):
        raise InvalidJob(NO_TYPE)
    job_type = _type(asked.get("type"))
    data = asked.get("data")
    if job_type == DOWNLOAD_TYPE:
        data = _download(data, allow)
    job = queue.create(job_type, data if is_truthy(data) else None)  # as Node's API
    to_json(job.data)
    options = asked.get("options")
    if not isinstance(options, dict):  # as in Node, what has no members has no options
        return job
    # Node skips options that JavaScript calls false: 0, "", null.
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
    """Return the members and options of a job's body that have no meaning, such as ``options.atempts``, sorted.

    As in Node Kue they are no error: a client may send members of its own. A misspelt option should not go unnoticed
    all the same. Names are shortened, and printable ASCII.
    """
    if not isinstance(asked, dict):
        return []
    options = asked.get("options")
    unknown = [f"options.{name}" for name in (options.keys() - OPTIONS if isinstance(options, dict) else ())]
    unknown += asked.keys() - MEMBERS
    return sorted(ascii(name[:40])[1:-1] for name in unknown)


def _unique(job: Job, asked: object) -> None:
    """Make a job unique, as the option ``unique`` asks: true, or an object. A download is told by its URL."""
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
