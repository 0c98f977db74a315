"""Everything a queue keeps in Redis, in a form in which two runs of one scenario can be compared.

What differs from run to run is replaced by what it means: a time of this run becomes ``<time>``, a worker's id
``<worker>``, the rest of a stack ``<stack>``. A value that does not mean what it should (a promotion that is not
creation plus delay, say) is left as it was found, and so shows up as a difference.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

import redis

#: What this project adds to Node Kue's layout. Additions are dropped before a comparison; anything else is not.
OUR_HASH_FIELDS = frozenset(
    {"token", "attempt_log", "cancel", "rescues", "deaths", "alone", "exact_result", "due_at", "noted"}
)
OUR_KEYS = (
    r"leases", r"paused", r"clock", r"health", r"unique", r"workers", r"lane:[0-9a-f]+", r"history:.*",
    r"search:text:.*", r"secret:[a-z]+", r"sessions:ended",
    r"alerts(:.*)?", r"webhooks(:(events|outbox|dropped))?", r"webhook:[^:]+",
)  # fmt: skip

#: Locks are there or not by chance (and Node's bear no prefix).
PASSING_KEYS = ("promotion:lock", "activeJobsTTL:lock")

#: A time counts as one of this run if it is at most this old.
RUN_MS = 600_000

#: Between reading the clock and writing the deadline of an active job, Node and we do a few round trips.
DEADLINE_SLACK_MS = 1_500

Dump = dict[str, tuple[str, Any]]


def dump(client: redis.Redis, prefix: str = "q") -> Dump:
    """{key: (type, contents)} of the whole database, sorted by key, normalized, without our additions.

    Contents: a str; a list of str; a sorted list for a set; {field: value} for a hash; for a zset a list of
    (member, score) in Redis's order, scores as text.
    """
    raw = raw_dump(client)
    jobs = {key: value for key, (kind, value) in raw.items() if kind == "hash" and _is_job(key, prefix)}
    normal: Dump = {}
    for key, (kind, value) in raw.items():
        if _is_ours(key, prefix) or key in PASSING_KEYS:
            continue
        if key in jobs:
            value = normal_job(value)
        elif kind == "zset" and key.startswith(f"{prefix}:jobs:"):
            value = [(member, _score(key, member, score, jobs, prefix)) for member, score in value]
        elif key == f"{prefix}:stats:work-time":
            value = _work_time(value, jobs.values())
        normal[key] = (kind, value)
    return normal


def raw_dump(client: redis.Redis) -> Dump:
    """The same without any change: exactly what Redis holds, sorted by key."""
    names = sorted(client.keys("*"))
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
        kinds = [_text(kind) for kind in pipe.execute()]
        for name, kind in zip(names, kinds, strict=True):
            READ[kind](pipe, name)
        contents = pipe.execute()
    return {
        _text(name): (kind, _contents(kind, value))
        for name, kind, value in zip(names, kinds, contents, strict=True)
        if value or kind == "string"
    }


READ: dict[str, Any] = {
    "string": lambda pipe, name: pipe.get(name),
    "list": lambda pipe, name: pipe.lrange(name, 0, -1),
    "set": lambda pipe, name: pipe.smembers(name),
    "hash": lambda pipe, name: pipe.hgetall(name),
    "zset": lambda pipe, name: pipe.zrange(name, 0, -1, withscores=True),
    "none": lambda pipe, name: pipe.exists(name),  # went away between the two looks
}


def _contents(kind: str, value: Any) -> Any:
    if kind == "list":
        return [_text(item) for item in value]
    if kind == "set":
        return sorted(_text(item) for item in value)
    if kind == "hash":
        return {_text(field): _text(content) for field, content in sorted(value.items())}
    if kind == "zset":
        return [(_text(member), _number(score)) for member, score in value]
    return _text(value)


def normal_job(fields: dict[str, str]) -> dict[str, str]:
    """A job's hash, normalized and without our fields."""
    normal = {}
    for field, value in fields.items():
        if field in OUR_HASH_FIELDS:
            continue
        if field in ("created_at", "updated_at", "started_at", "failed_at"):
            value = _this_run(value)
        elif field == "promote_at":
            value = _promote_at(fields)
        elif field == "duration":
            value = "<ms>" if value.isdecimal() and int(value) < RUN_MS else value
        elif field == "workerId":
            value = re.sub(r"^kue:[^:]+:\d+:(.*):\d+$", r"<worker of \1>", value)
        elif field == "error":
            value = normal_error(value)
        normal[field] = value
    return normal


def normal_error(text: str) -> str:
    """The first line, and whether anything follows it."""
    first, newline, _ = text.partition("\n")
    return first + ("\n<stack>" if newline else "")


def differences(ours: Dump, nodes: Dump) -> list[str]:
    """Each difference as a sentence: key, field, Node's value, ours."""
    found = []
    for key in sorted(ours.keys() | nodes.keys()):
        if ours.get(key) == nodes.get(key):
            continue
        mine, theirs = ours.get(key), nodes.get(key)
        if mine and theirs and mine[0] == theirs[0] == "hash":
            for field in sorted(mine[1].keys() | theirs[1].keys()):
                if mine[1].get(field) != theirs[1].get(field):
                    found.append(f"{key} {field}: Node {theirs[1].get(field)!r}, ours {mine[1].get(field)!r}")
        else:
            found.append(f"{key}: Node {theirs!r}, ours {mine!r}")
    return found


def _is_job(key: str, prefix: str) -> bool:
    return re.fullmatch(re.escape(prefix) + r":job:\d+", key) is not None


def _is_ours(key: str, prefix: str) -> bool:
    return any(re.fullmatch(re.escape(prefix) + ":" + pattern, key) for pattern in OUR_KEYS)


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _number(score: float) -> str:
    return str(int(score)) if score == int(score) else repr(score)


def _this_run(value: str) -> str:
    now = time.time() * 1000
    return "<time>" if value.isdecimal() and now - RUN_MS <= int(value) <= now + 1000 else value


def _promote_at(job: dict[str, str]) -> str:
    """What the time is made of: the creation or a failure, plus the delay. Only the last failure's time is kept."""
    promote_at, delay = job.get("promote_at", ""), int(float(job.get("delay", "0")))
    for field in ("failed_at", "created_at"):
        for added in (delay, 0):
            if field in job and promote_at == str(int(job[field]) + added):
                return f"<{field} + {added}>"
    if "failed_at" in job and int(job["created_at"]) < int(promote_at or 0) - delay < int(job["failed_at"]):
        return f"<an earlier failure + {delay}>"
    return promote_at


def _score(key: str, member: str, score: str, jobs: dict[str, Any], prefix: str) -> str:
    """The score of a member of a state set: a time becomes its meaning, a priority stays."""
    job = jobs.get(f"{prefix}:job:{member.partition('|')[2]}", {})
    if key == f"{prefix}:jobs:delayed" and score == job.get("promote_at"):
        return "<promote_at>"
    if key == f"{prefix}:jobs:active" and "ttl" in job:
        begun = int(score) - int(float(job["ttl"]))
        earliest = int(job.get("started_at", int(job["updated_at"]) - DEADLINE_SLACK_MS))
        if earliest <= begun <= int(job["updated_at"]) + DEADLINE_SLACK_MS:
            return "<deadline>"
    return score


def _work_time(value: str, jobs: Iterable[dict[str, str]]) -> str:
    """The sum of the durations, as far as the jobs are still there to be added up."""
    known = sum(int(job.get("duration", "0")) for job in jobs)
    return "<ms>" if value.isdecimal() and known <= int(value) <= known + RUN_MS else value
