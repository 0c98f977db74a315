"""One queue, its model, and what must be so after each step: both agree, and the doctor finds nothing."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

import kue
from kue.doctor import examine
from kue.management.limits import _read as read_limit
from kue.schedules.firing import Firing
from kue.states import ASIDE_UNTIL_MS, HOLD_UNTIL_MS, WAIT_UNTIL_MS
from kue.storage.codec import to_json
from kue.storage.script_values import Outcome, Reservation
from kue.worker.maintenance import Maintenance
from tests.queue.whole.model import ENDED, LEASE_MS, Job, Model
from tests.support.consistency import inconsistencies
from tests.support.mortality import Called, Died, Mortal, MortalScripts
from tests.support.redis_dump import raw_dump

NOW = 1_700_000_000_000
TYPES, WORKERS, NAMES = ("free", "cap", "keyed", "rated"), ("kue:host:1", "kue:host:2"), ("s", "t")
#: By type, the limit of the type and the one of each key, as Queue.limit takes them.
LIMITS: dict[str, dict[str, dict[str, Any]]] = {
    "free": {}, "cap": {"all": {"concurrency": 2}}, "keyed": {"key": {"concurrency": 1}},
    "rated": {"all": {"rate": "4/s", "burst": 2}},
}  # fmt: skip
#: Jobs that have not ended: with few, each goes through much.
JOBS_MAX = 10

kinds, workers = st.sampled_from(TYPES), st.sampled_from(WORKERS)
picks, keys = st.integers(0, 60), st.sampled_from("aab")
#: None; or the steps (two a command) that are made, and whether then the connection breaks, or the process dies.
fates = st.one_of(st.none(), st.none(), st.tuples(st.sampled_from([0, 1, 1, 1, 2, 3, 5, 8]), st.booleans()))
policies = st.sampled_from(["fail", "fail", "ignore", "wait"])
options = st.fixed_dictionaries({
    "key": keys, "priority": st.sampled_from([0, -5, 10]), "attempts": st.integers(1, 3),
    "delay": st.sampled_from([0, 0, 0, 700]), "ttl": st.sampled_from([0, 0, 600]),
    "remove_on_complete": st.sampled_from([False, False, True]),
})  # fmt: skip
outcomes = st.sampled_from(
    ["complete", "complete", "complete", "now", "later", "never", "release", "postpone", "limit"]
)
acts = st.sampled_from(["cancel", "remove", "cancel all", "remove all", "suspend", "priority"])
#: Children and parents of one flow, as places in it; -1, -2 are jobs that are there.
SHAPES: dict[str, tuple[int, list[tuple[int, int]]]] = {
    "batch": (3, [(1, 0), (2, 0)]), "chain": (3, [(1, 0), (2, 1)]), "diamond": (4, [(1, 0), (2, 0), (3, 1), (3, 2)]),
    "two": (3, [(2, 0), (2, 1)]), "of old": (2, [(1, 0), (-1, 0), (-2, 0)]), "above": (1, [(-1, 0)]),
}  # fmt: skip

Options = dict[str, Any]
Choice = tuple[int, bool] | None

class Machine(RuleBasedStateMachine):
    """``client``, ``queue``, ``scripts`` and ``mortal`` are set by the test."""

    client: redis.Redis
    mortal: Mortal
    queue: kue.Queue
    scripts: MortalScripts

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.scripts.now, self.fate = NOW, self.mortal.fate
        self.fate.choose(None)
        self.keys, self.model, self.calls = self.queue.keys, Model(NOW), 0
        self.new_producer()
        self.processes = [self.new_process() for _ in WORKERS]
        #: By worker, what it believes to hold: {id: token}.
        self.held: dict[str, dict[int, str]] = {worker: {} for worker in WORKERS}
        self.limits: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in TYPES}
        self.holds: dict[tuple[str, str], int] = {}
        self.starts: dict[tuple[str, str], list[int]] = defaultdict(list)
        #: The occurrences of each schedule that have a job, and from when on each must have one.
        self.occurrences: dict[str, set[int]] = defaultdict(set)
        self.every: dict[str, int] = {}
        self.last_jobs: dict[str, int] = {}

    # Processes

    def new_producer(self) -> None:
        self.queue._store.producer.begin()
        self.queue._store.producer._lane._connection._connector = self.queue.session.connector

    def new_process(self) -> tuple[Maintenance, Firing]:
        registry: Any = None  # only reclaim asks it
        upkeep = Maintenance(self.queue.session.connector, self.scripts, {}, registry, lambda: None, lambda: False, 0)
        return upkeep, Firing(self.queue.session, self.queue._store, lambda: None)

    def live(self, choice: Choice, act: Callable[[], Any]) -> tuple[bool, list[Called]]:
        """Act, with a fate; return whether the process is alive, and what Redis has executed."""
        self.fate.choose(*(choice or (None, False)))
        try:
            act()
        except Died:
            return False, self.fate.executed
        except (kue.WrongState, kue.JobNotFound, kue.LeaseLost):
            pass  # the model says whether that is so
        finally:
            self.fate.end = None
        return True, self.fate.executed

    def produce(self, choice: Choice, act: Callable[[], Any], script: str, effect: Callable[[], object]) -> None:
        is_alive, executed = self.live(choice, act)
        if any(each.name == script for each in executed):
            effect()
        if not is_alive:
            self.new_producer()
        self.compare()

    def job(self, pick: int, *places: str) -> Job | None:
        found = [job for job in self.model.jobs.values() if not places or job.place in places]
        return found[pick % len(found)] if found else None

    def few(self) -> bool:
        """Whether there is room for more jobs."""
        return sum(job.place not in ENDED for job in self.model.jobs.values()) < JOBS_MAX

    def set_limit(self, kind: str, part: str, limit: dict[str, Any] | None) -> None:
        value: Any = read_limit(limit.get("rate"), limit.get("burst"), limit.get("concurrency"),
                                "data.k" if part == "key" else None, None)[0] if limit else None  # fmt: skip
        self.fate.choose(None)
        self.scripts.run(self.mortal, "set_limit", kind, part, to_json(value) if value else "")
        parts = self.limits[kind]
        parts.pop(part, None)
        if limit:
            parts[part] = limit
        for what in [each for each in self.starts if each[0] == kind]:
            del self.starts[what]
    # What must be so

    def compare(self) -> None:
        """Redis and the model agree, and the doctor finds nothing."""
        keys, now = raw_dump(self.client), self.model.now
        found = {int(key[6:]): value for key, (kind, value) in keys.items()
                 if kind == "hash" and key.startswith("q:job:")}  # fmt: skip
        assert sorted(found) == sorted(self.model.jobs)
        for job_id, job in self.model.jobs.items():
            seen, expected = self.seen(found[job_id]), self.expected(job)
            wrong = {name: (seen[name], expected[name]) for name in seen if seen[name] != expected[name]}
            assert not wrong, f"job {job_id}, as it is and as it should be: {wrong}"
        lists = [value for key, (_, value) in keys.items() if key.startswith("q:limit:holders")]
        holders = {member for value in lists for member, _ in value}
        assert holders == {f"1:{job.key}:{job.id}" for job in self.model.jobs.values() if job.has_slot}
        for entry in {job.claim.entry for job in self.model.jobs.values() if job.claim}:
            score = dict(keys.get("q:unique", ("", []))[1]).get(entry)
            holder = self.model.holder_of(entry)
            assert holder is None or score == str(holder), (entry, score, holder)
        ids = sorted(found)
        asked = [part for each in ids for part in (each, "", 0)]
        assert self.scripts.run(self.client, "doctor", len(ids), *asked, now_ms=now) == []
        asked = [part for each in ids for part in (each, "-inf")]
        assert self.scripts.run(self.client, "doctor_flows", 0, *asked, now_ms=now) == []
        # With limits there may be fewer tokens than jobs, and restored ones where a type is paused.
        assert [each for each in inconsistencies(self.client) if "tokens" not in each] == []

    def seen(self, raw: dict[str, str]) -> dict[str, Any]:
        """What Redis says of a job, in the form of ``expected``."""
        due, state = int(raw["promote_at"]), raw["state"]
        far = {ASIDE_UNTIL_MS: "waiting", WAIT_UNTIL_MS: "children", HOLD_UNTIL_MS: "suspended"}
        place = {"inactive": "waiting", "delayed": far.get(due, "delayed")}.get(state, state)
        return {
            "place": place, "due": due if place == "delayed" else 0, "made": int(raw.get("attempts", 0)),
            "key": json.loads(raw["data"])["k"], "priority": int(raw["priority"]),
            "children": int(raw.get("children", 0)), "ended": int(raw.get("children_ended", 0)),
            "parents": raw.get("parents", ""),
            "failed_child": raw.get("failed_child") if state == "failed" else None,
            "token": raw.get("token") if state == "active" else None, "claim": raw.get("unique"),
        }  # fmt: skip

    def expected(self, job: Job) -> dict[str, Any]:
        return {
            "place": job.place, "due": job.due if job.place == "delayed" else 0, "made": job.made,
            "key": job.key, "priority": job.priority,
            "children": len(job.children), "ended": len(job.children) - len(job.pending),
            "parents": ",".join(map(str, job.parents)),
            "failed_child": str(job.failed_child) if job.place == "failed" and job.failed_child else None,
            "token": job.token if job.place == "active" else None, "claim": job.claim and job.claim.entry,
        }  # fmt: skip

    def teardown(self) -> None:
        """All that can be done is done: no occurrence is missing, no parent waits for ever, no slot is left."""
        self.fate.choose(None)
        for held in self.held.values():
            held.clear()
        self.model.paused.clear()
        upkeep, firing = self.new_process()
        for name in self.every:
            until = self.scripts.now
            while (self.queue.get_schedule(name).next_at or until + 1) <= until:
                firing.run(self.mortal)
            for each in self.fate.executed:
                self.tended(each)
            self.fate.choose(None)
            if self.every[name]:
                assert set(range(self.every[name], until + 1, 1000)) <= self.occurrences[name]
            self.queue.unschedule(name)
        for kind in TYPES:
            self.queue.resume(kind)
        for round_ in range(200):
            self.scripts.wait(LEASE_MS + 1)
            upkeep.promote(self.mortal)
            self.scripts.rescue(self.mortal)
            reservation = Reservation({kind: range(9) for kind in TYPES}, LEASE_MS, f"t{round_}", WORKERS[0])
            jobs = self.scripts.reserve(self.mortal, reservation).jobs
            for job in jobs:
                done = Outcome("complete", job.job_id, job.token, ("null", "0"))
                assert self.scripts.acknowledge(self.mortal, done) == 1
            if not jobs and round_ > 3:
                break
        self.check_what_is_left()

    def check_what_is_left(self) -> None:
        keys = raw_dump(self.client)
        found = {int(key[6:]): value for key, (kind, value) in keys.items()
                 if kind == "hash" and key.startswith("q:job:")}  # fmt: skip
        suspended = {job_id for job_id, raw in found.items() if raw["promote_at"] == str(HOLD_UNTIL_MS)}
        for job_id, raw in found.items():
            if raw["state"] in ENDED or job_id in suspended:
                continue
            assert raw["state"] == "delayed" and raw["promote_at"] == str(WAIT_UNTIL_MS), raw
            waits_for = [int(each) for each, score in keys[f"q:job:{job_id}:children"][1] if float(score) < 0]
            assert any(self.is_stopped(found.get(each), raw, each in suspended) for each in waits_for), (raw, waits_for)
        for key, (_, value) in keys.items():
            assert not key.startswith(("q:limit:holders", "q:limit:aside", "q:limit:full", "q:leases")), (key, value)
        assert [str(each) for each in examine(self.queue, settle_s=0, tokens_settle_s=0)] == []

    @staticmethod
    def is_stopped(child: dict[str, str] | None, parent: dict[str, str], is_suspended: bool) -> bool:
        """Whether a parent rightly waits for a child: an operator has to do something first."""
        if child is None:
            return False
        waits_itself = child["state"] == "delayed" and child["promote_at"] == str(WAIT_UNTIL_MS)
        return is_suspended or waits_itself or (child["state"] == "failed" and parent.get("on_child_failure") == "wait")
