"""Limits under random operations, kills and clocks: no limit is exceeded at any moment, and no job is left behind.

A worker here is a list of the attempts that it holds. Killing it forgets them: Redis learns of that by their leases.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

import kue
from kue.states import ASIDE_UNTIL_MS
from kue.storage.codec import to_json
from kue.storage.keys import zid
from kue.storage.script_values import ClockWatch, Outcome, Reservation

SEQUENCES = int(os.environ.get("KUE_SEQUENCES", "0"))
NOW = 1_700_000_000_000
LEASE_MS = 10_000
#: Each type with its limits: of the type, and of each key.
LIMITS: dict[str, dict[str, dict[str, Any]]] = {
    "whole": {"all": {"count": 4, "period": 1000, "burst": 2, "concurrency": 3}},
    "keyed": {"key": {"count": 2, "period": 1000, "burst": 1, "concurrency": 1}},
    "both": {"all": {"concurrency": 3}, "key": {"concurrency": 2}},
    "free": {},
}
TYPES, WORKERS = tuple(LIMITS), ("kue:host:1", "kue:host:2")
kinds, picks, names = st.sampled_from(TYPES), st.integers(0, 99), st.sampled_from("aab")
waits = st.sampled_from([0, 30, 250, 500, 1000, 4000, 11_000])


class Limited(RuleBasedStateMachine):
    client: Any
    queue: kue.Queue

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.scripts, self.keys = self.queue.session.scripts, self.queue.keys
        self.now, self.calls = NOW, 0
        #: By worker, what it runs: {id: (token, type, key)}.
        self.held: dict[str, dict[str, tuple[str, str, str]]] = {worker: {} for worker in WORKERS}
        #: By type and key ("" is the type as a whole), when attempts started while the limit was as it is.
        self.starts: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        self.limits = {kind: dict(parts) for kind, parts in LIMITS.items()}
        for kind, parts in self.limits.items():
            for part, limit in parts.items():
                self.set_limit(kind, part, limit)

    def set_limit(self, kind: str, part: str, limit: dict[str, Any] | None) -> None:
        value = {**limit, "by": "data.k", "path": ["k"]} if limit and part == "key" else limit
        self.scripts.run(self.client, "set_limit", kind, part, to_json(value) if value else "", now_ms=self.now)
        self.limits[kind] = {**self.limits[kind], part: limit} if limit else {
            each: of for each, of in self.limits[kind].items() if each != part
        }  # fmt: skip
        for what in list(self.starts):
            if what[0] == kind:
                del self.starts[what]

    # What runs, as seen from outside

    def runs(self, job_id: str, token: str) -> bool:
        """Whether Redis says that the attempt holds its job: a handler that lost it has been stopped."""
        state, kept = self.client.hmget(self.keys.job(job_id), "state", "token")
        return bool(state == "active" and kept == token and self.client.zscore(self.keys.leases, job_id) is not None)

    def running(self, kind: str, key: str | None) -> int:
        return sum(
            of == kind and key in (None, name) and self.runs(job_id, token)
            for held in self.held.values()
            for job_id, (token, of, name) in held.items()
        )

    def check_rate(self, kind: str, key: str | None, limit: dict[str, Any]) -> None:
        times = self.starts[kind, key]
        if "count" not in limit:
            return
        for at, begun in enumerate(times):
            most = limit["burst"] + (self.now - begun) * limit["count"] / limit["period"]
            assert len(times) - at <= most + 1e-6, (kind, key, times, self.now)

    def ids(self, kind: str | None = None) -> list[str]:
        found = [each.partition("|")[2] for each in self.client.zrange(self.keys.jobs, 0, -1)]
        return [each for each in found if kind is None or self.client.hget(self.keys.job(each), "type") == kind]

    def job(self, pick: int) -> str | None:
        found = self.ids()
        return found[pick % len(found)] if found else None

    def attempt(self, pick: int) -> tuple[str, str, str] | None:
        found = [(worker, job_id, held[0]) for worker, of in self.held.items() for job_id, held in of.items()]
        return found[pick % len(found)] if found else None

    # Producers

    @rule(kind=kinds, keys=st.lists(names, min_size=1, max_size=4), priority=st.sampled_from(["0", "-5", "10"]))
    def create(self, kind: str, keys: list[str], priority: str) -> None:
        rows = [(kind, to_json({"k": key}), priority, "3", "", "", "", "") for key in keys]
        self.scripts.create(self.client, rows, now_ms=self.now)

    @rule(kind=kinds, key=names)
    def node_creates(self, kind: str, key: str) -> None:
        job_id, now = self.client.incr(self.keys.ids), str(self.now)
        fields = {"type": kind, "data": to_json({"k": key}), "priority": "0", "state": "inactive", "created_at": now,
                  "promote_at": now, "updated_at": now, "max_attempts": "3"}  # fmt: skip
        self.client.hset(self.keys.job(job_id), mapping=fields)
        self.client.sadd(self.keys.types, kind)
        for name in (self.keys.jobs, self.keys.state("inactive"), self.keys.type_state(kind, "inactive")):
            self.client.zadd(name, {zid(job_id): 0})
        self.client.lpush(self.keys.tokens(kind), "1")

    # Workers

    @rule(kind=kinds, slots=st.integers(1, 5), worker=st.sampled_from(WORKERS))
    def reserve(self, kind: str, slots: int, worker: str) -> None:
        self.calls += 1
        reservation = Reservation({kind: range(slots)}, LEASE_MS, f"n{self.calls}", worker)
        result = self.scripts.reserve(self.client, reservation, now_ms=self.now)
        for job in result.jobs:
            key = json.loads(job.fields["data"])["k"]
            self.held[worker][job.job_id] = (job.token, kind, key)
            parts = self.limits[kind]
            for part, name in (("all", None), ("key", key)):
                if part in parts:
                    self.starts[kind, name].append(self.now)
                    self.check_rate(kind, name, parts[part])
                    assert self.running(kind, name) <= parts[part].get("concurrency", 10**6), (kind, name)
        if len(result.jobs) < slots and not result.more and not result.later:
            self.nothing_could_start(kind)

    def nothing_could_start(self, kind: str) -> None:
        """A worker was told to wait for a token: no job of the type could have started instead."""
        parts = self.limits[kind]
        if "all" in parts and self.running(kind, None) >= parts["all"].get("concurrency", 10**6):
            return
        for job_id in self.ids(kind):
            state, promote_at, key = self.client.hmget(self.keys.job(job_id), "state", "promote_at", "limit_key")
            if state == "inactive":
                raise AssertionError(f"job {job_id} of type {kind} waits")
            if state == "delayed" and promote_at == str(ASIDE_UNTIL_MS) and "key" in parts:
                holders = self.client.zrange(self.keys.limit("holders", kind), 0, -1)
                assert any(member.startswith(f"{len(key)}:{key}:") for member in holders), (job_id, key)

    @rule(pick=picks, how=st.sampled_from(["complete", "complete", "fail", "retry", "release", "limit"]))
    def end(self, pick: int, how: str) -> None:
        found = self.attempt(pick)
        if found is None:
            return
        worker, job_id, token = found
        values: dict[str, tuple[str, tuple[str, ...]]] = {
            "complete": ("complete", ("null", "0")), "fail": ("fail", ("e", "e", "e", "never", "", "")),
            "retry": ("fail", ("e", "e", "e", "wait", "400", "")), "release": ("release", ("r",)),
            "limit": ("limit", ("429", "700")),
        }  # fmt: skip
        verb, rest = values[how]
        self.scripts.acknowledge(self.client, Outcome(verb, job_id, token, rest), now_ms=self.now)
        del self.held[worker][job_id]

    @rule(worker=st.sampled_from(WORKERS))
    def beat(self, worker: str) -> None:
        pairs = [(job_id, token) for job_id, (token, _, _) in self.held[worker].items()]
        for lost in self.scripts.renew(self.client, pairs, lease_ms=LEASE_MS, now_ms=self.now):
            del self.held[worker][lost]

    @rule(worker=st.sampled_from(WORKERS), is_seen=st.booleans())
    def kill(self, worker: str, is_seen: bool) -> None:
        self.held[worker].clear()
        if is_seen:  # by another process of the machine; else only its leases tell
            self.scripts.rescue(self.client, dead_worker=worker, now_ms=self.now)

    # Time and operators

    @rule(ms=waits)
    def time_passes(self, ms: int) -> None:
        self.now += ms
        self.scripts.promote(self.client, now_ms=self.now)
        self.scripts.rescue(self.client, now_ms=self.now)

    @precondition(lambda self: not any(self.held.values()))
    @rule()
    def the_clock_is_set_back(self) -> None:
        watch = ClockWatch(3000, 12_000, 0)
        self.scripts.watch_clock(self.client, watch, now_ms=self.now)
        self.now -= 3_600_000
        self.scripts.watch_clock(self.client, watch, now_ms=self.now)
        self.starts.clear()

    @rule(pick=picks, what=st.sampled_from(["cancel", "suspend", "remove", "promote", "retry", "priority", "data"]))
    def operate(self, pick: int, what: str) -> None:
        job_id = self.job(pick)
        if job_id is None:
            return
        at: dict[str, Any] = {"now_ms": self.now}
        try:
            if what in ("promote", "retry"):
                source = {"promote": "delayed", "retry": "failed"}[what]
                self.scripts.move(self.client, job_id, "inactive", (source,), **at)
            elif what == "priority":
                self.scripts.set_priority(self.client, job_id, "-3", **at)
            elif what == "data":
                self.scripts.update(self.client, job_id, {"data": '{"k":"c"}'}, **at)
            else:
                getattr(self.scripts, what)(self.client, job_id, **at)
        except kue.WrongState:
            return

    @rule(pick=picks, what=st.sampled_from(["delete", "promote", "remove"]))
    def node_or_somebody_writes_by_hand(self, pick: int, what: str) -> None:
        job_id = self.job(pick)
        if job_id is None:
            return
        kind, state, priority = self.client.hmget(self.keys.job(job_id), "type", "state", "priority")
        if what == "promote":
            if state != "delayed":
                return
            self.client.hset(self.keys.job(job_id), "state", "inactive")
            for name in (self.keys.state("inactive"), self.keys.type_state(kind, "inactive")):
                self.client.zadd(name, {zid(job_id): float(priority)})
        self.client.zrem(self.keys.state(state), zid(job_id))
        self.client.zrem(self.keys.type_state(kind, state), zid(job_id))
        if what == "remove":
            self.client.zrem(self.keys.jobs, zid(job_id))
        if what != "promote":
            self.client.delete(self.keys.job(job_id))
            if what == "delete":
                self.scripts.tidy(self.client, job_id)

    @rule(kind=kinds, part=st.sampled_from(["all", "key"]), count=st.integers(0, 3))
    def change_a_limit(self, kind: str, part: str, count: int) -> None:
        """0 lifts it. Only where nothing runs: what runs already would count for no limit by key."""
        if any(of == kind for held in self.held.values() for _, of, _ in held.values()):
            return
        self.set_limit(kind, part, {"concurrency": count} if count else None)

    def teardown(self) -> None:
        """All jobs can be done: nothing is forgotten, and no slot is lost."""
        for held in self.held.values():
            held.clear()
        for round_ in range(400):
            self.now += 11_000
            self.scripts.rescue(self.client, now_ms=self.now)
            self.scripts.promote(self.client, now_ms=self.now)
            reservation = Reservation({kind: range(9) for kind in TYPES}, LEASE_MS, f"t{round_}", WORKERS[0])
            jobs = self.scripts.reserve(self.client, reservation, now_ms=self.now).jobs
            for job in jobs:
                done = Outcome("complete", job.job_id, job.token, ("null", "0"))
                assert self.scripts.acknowledge(self.client, done, now_ms=self.now) == 1
            if not jobs and round_ > 5:
                break
        left = [each for each in self.ids() if self.client.hget(self.keys.job(each), "state") in ("inactive", "active")]
        aside = self.client.zcount(self.keys.state("delayed"), ASIDE_UNTIL_MS, ASIDE_UNTIL_MS)
        assert (left, aside) == ([], 0)
        found = self.ids()
        asked = [part for each in found for part in (each, "", 0)]
        assert self.scripts.run(self.client, "doctor", len(found), *asked, now_ms=self.now) == []
        assert self.client.keys("q:limit:leaving*") == []
        for kind in TYPES:
            self.scripts.promote(self.client, now_ms=self.now)
            for part in ("holders", "aside", "ready", "full"):
                assert self.client.zcard(self.keys.limit(part, kind)) == 0, (kind, part)


@pytest.mark.slow
@pytest.mark.parametrize("sequences", [15, pytest.param(40, marks=pytest.mark.long)])
def test_whatever_happens_no_limit_is_exceeded_and_no_job_is_left(
    queue: kue.Queue, redis_client: redis.Redis, sequences: int
) -> None:
    machine = type("Machine", (Limited,), {"client": redis_client, "queue": queue})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SEQUENCES or sequences,
            stateful_step_count=50,
            derandomize=not SEQUENCES,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if SEQUENCES else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
