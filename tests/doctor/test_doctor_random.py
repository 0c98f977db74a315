"""The doctor after random damage: everything agrees again, no job with a type is lost, a second look finds nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from kue import doctor
from kue.queue import Queue
from kue.storage.keys import zid
from tests.support.consistency import inconsistencies
from tests.support.script_steps import Steps

STATES = ("inactive", "active", "complete", "failed", "delayed")
TYPES = ("a", "b:c", "")
FIELDS = ("type", "state", "priority", "data", "promote_at", "updated_at", "ttl", "workerId", "created_at")

#: What may happen to a queue: each gets the client, a random source, an id, a state and a type.
DAMAGES: list[Callable[..., Any]] = [
    lambda c, r, i, s, t: c.zrem(f"q:jobs:{s}", zid(i)),
    lambda c, r, i, s, t: c.zrem(f"q:jobs:{t}:{s}", zid(i)),
    lambda c, r, i, s, t: c.zrem("q:jobs", zid(i)),
    lambda c, r, i, s, t: c.zadd(f"q:jobs:{s}", {zid(i): r.choice([0, 5, 10**13])}),
    lambda c, r, i, s, t: c.zadd(f"q:jobs:{t}:{s}", {zid(i): 3}),
    lambda c, r, i, s, t: c.zadd("q:jobs", {zid(i): 3}),
    lambda c, r, i, s, t: c.delete(f"q:job:{i}"),
    lambda c, r, i, s, t: c.hdel(f"q:job:{i}", r.choice(FIELDS)),
    lambda c, r, i, s, t: c.hset(f"q:job:{i}", "state", r.choice((*STATES, "weird"))),
    lambda c, r, i, s, t: c.hset(f"q:job:{i}", "priority", "nonsense"),
    lambda c, r, i, s, t: c.delete("q:leases"),
    lambda c, r, i, s, t: c.zadd("q:leases", {str(i): 1}),
    lambda c, r, i, s, t: c.delete(f"q:{t}:jobs"),
    lambda c, r, i, s, t: c.rpush(f"q:job:{i}:log", "x"),
    lambda c, r, i, s, t: c.srem("q:job:types", t),
    lambda c, r, i, s, t: c.set("q:ids", r.randint(0, i)),
]


def fill(steps: Steps, source: random.Random) -> None:
    for kind in TYPES:
        ttl = source.choice(["", "90000"])
        steps.create(source.randint(1, 5), kind=kind, priority=source.choice([0, -10, 5]), ttl=ttl, now=0)
        steps.create(source.randint(1, 3), kind=kind, delay="100000", now=0)
        for job in steps.reserve(source.randint(0, 3), kind=kind, lease=10**8, now=0, nonce=f"n{kind}"):
            verb = source.choice(["complete", "fail", "nothing"])
            if verb == "complete":
                steps.acknowledge("complete", job.job_id, job.token, "1", "1", now=0)
            elif verb == "fail":
                steps.acknowledge("fail", job.job_id, job.token, "e", "e", "e", "never", "", "", now=0)


def examine(queue: Queue, fix: bool = False) -> list[doctor.Finding]:
    return list(doctor.examine(queue, fix, settle_s=0.001, tokens_settle_s=0.002))


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_is_repaired_without_losing_a_job(steps: Steps, queue: Queue, seed: int) -> None:
    for turn in range(3):
        # Given a queue with jobs in every state
        source = random.Random(f"{seed} {turn}")
        steps.client.flushdb()
        fill(steps, source)
        assert examine(queue) == []
        # When several things happen to it
        last = int(steps.client.get("q:ids"))
        for _ in range(source.randint(1, 6)):
            damage = source.choice(DAMAGES)
            damage(steps.client, source, source.randint(1, last + 3), source.choice(STATES), source.choice(TYPES))
        jobs = [key for key in steps.client.scan_iter("q:job:*", _type="HASH") if steps.client.hexists(key, "type")]
        found = examine(queue, fix=True)
        # Then all is in its place again, and every job that can be known is there
        assert examine(queue) == [], found
        assert inconsistencies(steps.client) == [], found
        assert all(steps.client.hexists(key, "type") for key in jobs), found
