"""What Redis holds and what the model says it must hold, in one form."""

from __future__ import annotations

import json
import re
from typing import Any

import redis

from tests.queue.model import Model
from tests.support.redis_dump import raw_dump


def expected(model: Model) -> dict[str, Any]:
    """What Redis must hold, in the form of ``found``."""
    keys: dict[str, Any] = {"q:ids": str(model.last_id)} if model.last_id else {}
    sets: dict[str, dict[str, float]] = {}
    for job in model.jobs.values():
        keys[f"q:job:{job.id}"] = {**job.fields, "token": job.token, "outcomes": job.outcomes}
        if job.log:
            keys[f"q:job:{job.id}:log"] = job.log
        sets.setdefault("q:jobs", {})[job.zid] = job.priority
        sets.setdefault(f"q:jobs:{job.state}", {})[job.zid] = job.score()
        sets.setdefault(f"q:jobs:{job.type}:{job.state}", {})[job.zid] = job.priority
        if job.lease is not None:
            sets.setdefault("q:leases", {})[str(job.id)] = job.lease
    keys |= {f"q:{kind}:jobs": ["1"] * count for kind, count in model.tokens.items() if count}
    keys |= {"q:job:types": sorted(model.types)} if model.types else {}
    keys |= {"q:paused": sorted(model.paused)} if model.paused else {}
    if model.work_time:
        keys["q:stats:work-time"] = str(model.work_time)
    return keys | sets


def found(client: redis.Redis) -> dict[str, Any]:
    """What Redis holds, with the attempts' outcomes in place of their whole record, and without a producer's lane."""
    plain: dict[str, Any] = {}
    for key, (kind, value) in raw_dump(client).items():
        if key.startswith("q:lane:") or (key == "q:stats:work-time" and value == "0"):
            continue
        if kind == "zset":
            value = {member: float(score) for member, score in value}
        if kind == "hash":
            attempts = json.loads(value.pop("attempt_log", "[]"))
            numbers = [attempt["number"] for attempt in attempts]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
            value = {**value, "token": value.get("token"), "outcomes": [attempt["outcome"] for attempt in attempts]}
            value |= {"error": blur(value["error"])} if "error" in value else {}
        if kind == "list":
            value = [blur(line) for line in value]
        plain[key] = value
    return plain


def blur(text: str) -> str:
    """The one message that names workers, as the model tells it."""
    found = re.fullmatch(r"(Failed after [0-9]+ rescues): .* while it ran nothing else \((.*)\)", text)
    return f"{found[1]}: {len(found[2].split(', '))} workers" if found else text


def blurred(event: tuple[int, str, tuple[Any, ...]]) -> tuple[int, str, tuple[Any, ...]]:
    job_id, name, args = event
    return job_id, name, tuple(blur(arg) if isinstance(arg, str) else arg for arg in args)
