"""Whether a queue's keys agree with each other: hash, state sets, tokens, counts."""

from __future__ import annotations

from typing import Any

import redis

from tests.support.redis_dump import raw_dump

STATES = ("inactive", "active", "complete", "failed", "delayed")


def inconsistencies(client: redis.Redis, prefix: str = "q") -> list[str]:
    """What is wrong, a sentence each; empty if every job is exactly where its hash says, and nothing else is there."""
    keys = raw_dump(client)
    jobs: dict[str, dict[str, str]] = {
        key.removeprefix(f"{prefix}:job:"): value
        for key, (kind, value) in keys.items()
        if kind == "hash" and key.startswith(f"{prefix}:job:")
    }
    wrong = [f"job {job_id} has a hash without a type: {job}" for job_id, job in jobs.items() if "type" not in job]
    expected: dict[str, dict[str, Any]] = {f"{prefix}:jobs": {}}
    for job_id, job in jobs.items():
        zid = f"{len(job_id):02d}|{job_id}"
        for key in (f"{prefix}:jobs", f"{prefix}:jobs:{job['state']}", f"{prefix}:jobs:{job['type']}:{job['state']}"):
            expected.setdefault(key, {})[zid] = job
    for key, (kind, value) in keys.items():
        if kind == "zset" and (key == f"{prefix}:jobs" or key.rpartition(":")[2] in STATES):
            members = {member for member, _ in value}
            if members != set(expected.get(key, {})):
                wrong.append(f"{key} holds {sorted(members)}, the hashes say {sorted(expected.get(key, {}))}")
    for key in expected:
        if expected[key] and key not in keys:
            wrong.append(f"{key} is missing, the hashes say {sorted(expected[key])}")
    for kind in keys.get(f"{prefix}:job:types", ("set", []))[1]:
        waiting = len(keys.get(f"{prefix}:jobs:{kind}:inactive", ("zset", []))[1])
        tokens = len(keys.get(f"{prefix}:{kind}:jobs", ("list", []))[1])
        if tokens < waiting:
            wrong.append(f"{waiting} jobs of type {kind} wait, with {tokens} tokens")
    for key in keys:
        if key.endswith(":log") and key.removeprefix(f"{prefix}:job:").removesuffix(":log") not in jobs:
            wrong.append(f"{key} belongs to no job")
    worked = sum(int(job.get("duration", 0)) for job in jobs.values() if job.get("state") == "complete")
    if int(keys.get(f"{prefix}:stats:work-time", ("string", "0"))[1]) < worked:
        wrong.append(f"the work time is less than the {worked} ms of the completed jobs")
    return wrong
