"""Estimate the memory of a queue from a few jobs, in a few milliseconds of the server's time."""

from __future__ import annotations

import contextlib
import random
from typing import Any, TypedDict

from redis.exceptions import RedisClusterException, ResponseError

from ..states import STATES
from ..storage.keys import Keys, id_of

#: Jobs whose memory is measured.
SAMPLE = 30


class MemoryInfo(TypedDict):
    """Bytes; None where the server does not tell."""

    used: int | None
    """By the whole server, other databases included."""
    limit: int | None
    """``maxmemory``; None if there is none."""
    policy: str | None
    """What the server does at the limit. Anything but ``noeviction`` loses jobs."""
    jobs: int
    queue: int | None
    """By this queue: its jobs, their logs and its sets, estimated."""


def read(client: Any, keys: Keys) -> MemoryInfo:
    """Ask the server. A server that denies INFO or MEMORY to this user leaves those members None."""
    memory: MemoryInfo = {"used": None, "limit": None, "policy": None, "jobs": 0, "queue": None}
    with contextlib.suppress(ResponseError, RedisClusterException, AttributeError):
        info = client.info("memory")
        memory["used"], memory["limit"] = info.get("used_memory"), info.get("maxmemory") or None
        memory["policy"] = info.get("maxmemory_policy")
    with contextlib.suppress(ResponseError, RedisClusterException):
        memory["jobs"] = int(client.zcard(keys.jobs))
        memory["queue"] = _estimate(client, keys, memory["jobs"])
    return memory


def of_server(client: Any) -> tuple[int | None, int | None]:
    """Return the bytes that the server uses and may use; None where it does not tell, or has no limit."""
    with contextlib.suppress(ResponseError, RedisClusterException, AttributeError):
        info = client.info("memory")
        return info.get("used_memory"), info.get("maxmemory") or None
    return None, None


def _estimate(client: Any, keys: Keys, jobs: int) -> int:
    ranks = random.sample(range(jobs), SAMPLE) if jobs > SAMPLE else range(jobs)
    pipe = client.pipeline(transaction=False)
    for rank in ranks:
        pipe.zrange(keys.jobs, rank, rank)
    ids = [id_of(found[0]) for found in pipe.execute() if found]
    for job_id in ids:
        pipe.memory_usage(keys.job(job_id))
        pipe.memory_usage(keys.log(job_id))
    weights = [int(each or 0) for each in pipe.execute()] if ids else []
    names = [keys.jobs, keys.leases, *(keys.state(state) for state in STATES)]
    for name in names:
        pipe.memory_usage(name, samples=20)
    sets = [int(each or 0) for each in pipe.execute()]
    # The sets of each type together hold what those of the states do.
    shared = sum(sets) + sum(sets[2:])
    return shared + (sum(weights) * jobs // len(ids) if ids else 0)
