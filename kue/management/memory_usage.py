"""Estimate a queue's memory from a sample of jobs, in a few milliseconds of the server's time."""

from __future__ import annotations

import contextlib
import random
from typing import Any, TypedDict

from redis.exceptions import RedisClusterException, ResponseError

from ..states import STATES
from ..storage.keys import Keys, id_of

#: Size of the sample of jobs.
SAMPLE = 30


class MemoryInfo(TypedDict):
    """Bytes; None if the server does not report it."""

    used: int | None
    """Used by the whole server, including other databases."""
    peak: int | None
    """The most that the server has used since it started."""
    limit: int | None
    """The memory limit (``maxmemory``); None if there is none."""
    policy: str | None
    """The eviction policy. Anything but ``noeviction`` loses jobs at the limit."""
    jobs: int
    queue: int | None
    """Used by this queue: its jobs, their logs and its sets, estimated."""


def read(client: Any, keys: Keys) -> MemoryInfo:
    """Measure. If the server denies INFO or MEMORY to this user, those members are None."""
    memory: MemoryInfo = {"used": None, "peak": None, "limit": None, "policy": None, "jobs": 0, "queue": None}
    with contextlib.suppress(ResponseError, RedisClusterException, AttributeError):
        info = client.info("memory")
        memory["used"], memory["limit"] = info.get("used_memory"), info.get("maxmemory") or None
        memory["policy"], memory["peak"] = info.get("maxmemory_policy"), info.get("used_memory_peak")
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
    # The sets by type together have as many members as those by state.
    shared = sum(sets) + sum(sets[2:])
    return shared + (sum(weights) * jobs // len(ids) if ids else 0)
