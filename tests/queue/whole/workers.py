"""What workers do: a worker is a list of the attempts that it holds; Redis learns of its death by their leases."""

from __future__ import annotations

from typing import Any

import redis
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import kue
from kue.storage.script_values import Outcome, Reservation
from tests.queue.whole.machine import TYPES, Choice, Options, fates, kinds, options, outcomes, workers
from tests.queue.whole.model import LEASE_MS
from tests.queue.whole.producers import Producers
from tests.support.mortality import Called, Replayed


class Workers(Producers):
    @rule(worker=workers, kind=kinds, how=st.lists(outcomes, max_size=2))
    def work_well(self, worker: str, kind: str, how: list[str]) -> None:
        self.work(worker, kind, 3, how, None)

    @rule(worker=workers, how=st.lists(outcomes, min_size=3, max_size=3))
    def work_on_all(self, worker: str, how: list[str]) -> None:
        for kind in TYPES:
            self.work(worker, kind, 2, how, None)

    @rule(worker=workers, kind=kinds, slots=st.integers(1, 3), how=st.lists(outcomes, max_size=2), choice=fates)
    def work(self, worker: str, kind: str, slots: int, how: list[str], choice: Choice) -> None:
        """Acknowledge some attempts and take the next jobs in one call, which is repeated if its answer is lost."""
        held = list(self.held[worker].items())[: len(how)]
        words = {
            "complete": ("complete", ("null", "0")), "never": ("fail", ("e", "e", "e", "never", "", "")),
            "now": ("fail", ("e", "e", "e", "now", "", "")), "later": ("fail", ("e", "e", "e", "wait", "400", "")),
            "release": ("release", ("r", "")), "postpone": ("release", ("r", "500")),
            "limit": ("limit", ("429", "700")),
        }  # fmt: skip
        outcomes = [Outcome(words[each][0], str(job_id), token, words[each][1])
                    for each, (job_id, token) in zip(how, held, strict=False)]  # fmt: skip
        self.calls += 1
        taken: list[Any] = []

        def call() -> None:
            for again in (False, True):
                reservation = Reservation({kind: range(slots)}, LEASE_MS, f"n{self.calls}", worker, again)
                try:
                    taken.append(self.scripts.finish_and_reserve(self.mortal, outcomes, reservation))
                    return
                except redis.ConnectionError:
                    pass

        is_alive, executed = self.live(choice, call)
        if executed:
            for each, (job_id, token) in zip(how, held, strict=False):
                self.acknowledge(job_id, token, each)
            self.reserved(kind, slots, worker, executed[0])
        for job_id, _ in held:
            del self.held[worker][job_id]
        if taken:
            self.held[worker] |= {int(job.job_id): job.token for job in taken[-1].jobs}
        if not is_alive:
            self.held[worker].clear()
        self.compare()

    def acknowledge(self, job_id: int, token: str, how: str) -> None:
        if not self.model.holds(job_id, token):
            return
        job = self.model.jobs[job_id]
        if how == "complete":
            self.model.complete(job)
        elif how in ("now", "later", "never"):
            self.model.fail(job, {"later": "wait"}.get(how, how), 400)
        elif how in ("release", "postpone"):
            self.model.release(job, 500 if how == "postpone" else 0)
        else:
            self.model.release(job, 700)
            of_key = "key" in self.limits[job.type]
            self.holds[job.type, job.key if of_key else ""] = self.model.now + 700

    def reserved(self, kind: str, slots: int, worker: str, call: Called) -> None:
        """Each job that was taken was due to be taken, and no more could have been."""
        reservation = Reservation({}, LEASE_MS, "", worker)
        reply = Replayed(self.queue.keys, call.answer).finish_and_reserve(self.client, [], reservation)
        parts, left = self.limits[kind], self.model.of(kind, "waiting")
        in_order = not self.client.exists("q:limit:leaving")  # else some are aside for a moment: a limit was lifted
        for taken in reply.jobs:
            job = self.model.jobs[int(taken.job_id)]
            assert job in left and kind not in self.model.paused, job
            first = min((each for each in left if "key" not in parts or each.key == job.key),
                        key=lambda each: (each.priority, each.zid))  # fmt: skip
            assert job is first or not in_order, (job, first)
            left.remove(job)
            self.model.reserve(job, taken.token, worker, by_key="key" in parts)
            for part, name in (("all", ""), ("key", job.key)):
                if part in parts:
                    self.check_limit(kind, part, name)
        if len(reply.jobs) < slots and kind not in self.model.paused and not reply.more and not reply.later:
            could = [job for job in left if self.may_start(kind, job.key)]
            assert not could or not in_order, could

    def check_limit(self, kind: str, part: str, name: str) -> None:
        limit, running = self.limits[kind][part], self.running(kind, name)
        assert running <= (limit.get("concurrency") or running), (kind, name, running)
        assert self.holds.get((kind, name), 0) <= self.model.now, (kind, name, self.holds)
        times = self.starts[kind, name]
        times.append(self.model.now)
        if "rate" in limit:
            for at, begun in enumerate(times):
                assert len(times) - at <= limit["burst"] + (self.model.now - begun) * 4 / 1000 + 1e-6, times

    def running(self, kind: str, name: str) -> int:
        return sum(not name or (job.key == name and job.has_slot) for job in self.model.of(kind, "active"))

    def may_start(self, kind: str, key: str) -> bool:
        for part, name in (("all", ""), ("key", key)):
            limit = self.limits[kind].get(part, {})
            if self.running(kind, name) >= limit.get("concurrency", 10**6) or "rate" in limit:
                return False
            if self.holds.get((kind, name), 0) > self.model.now:
                return False
        return True

    @precondition(lambda self: self.few() and any(self.held.values()))
    @rule(worker=workers, kind=kinds, of=options, count=st.integers(1, 2), choice=fates)
    def add_children(self, worker: str, kind: str, of: Options, count: int, choice: Choice) -> None:
        if not self.held[worker]:
            return
        job_id, token = next(iter(self.held[worker].items()))
        job = kue.Job.from_hash(self.queue._store, job_id, {"type": kind})
        job._token = token
        made = [self.new(kind, {**of, "delay": 0}) for _ in range(count)]
        is_alive, executed = self.live(choice, lambda: job.add_children([each for each, _ in made]))
        if executed and self.model.holds(job_id, token):
            children = [self.model.create(each) for _, each in made]
            self.model.adopt([(each.id, job_id) for each in children])
        if not is_alive:
            self.held[worker].clear()
        self.compare()

    @precondition(lambda self: any(self.held.values()))
    @rule(worker=workers, choice=fates)
    def wait_for_children(self, worker: str, choice: Choice) -> None:
        if not self.held[worker]:
            return
        job_id, token = self.held[worker].popitem()
        outcome = Outcome("release", str(job_id), token, ("its children", "children"))

        def call() -> None:
            for _ in "12":
                try:
                    self.scripts.acknowledge(self.mortal, outcome)
                    return
                except redis.ConnectionError:
                    pass

        is_alive, executed = self.live(choice, call)
        if executed and self.model.holds(job_id, token):
            self.model.wait_for_children(self.model.jobs[job_id])
        if not is_alive:
            self.held[worker].clear()
        self.compare()

    @precondition(lambda self: any(self.held.values()))
    @rule(worker=workers)
    def beat(self, worker: str) -> None:
        pairs = [(str(job_id), token) for job_id, token in self.held[worker].items()]
        lost = [int(each) for each in self.scripts.renew(self.mortal, pairs, lease_ms=LEASE_MS)]
        for job_id, token in list(self.held[worker].items()):
            assert (job_id in lost) != self.model.holds(job_id, token)
            if job_id in lost:
                del self.held[worker][job_id]
            else:
                self.model.jobs[job_id].lease = self.model.now + LEASE_MS

    @precondition(lambda self: any(self.held.values()))
    @rule(worker=workers, is_seen=st.booleans())
    def a_worker_dies(self, worker: str, is_seen: bool) -> None:
        self.held[worker].clear()
        if is_seen:  # by another process of its machine; else only its leases tell
            rescued = self.scripts.rescue(self.mortal, dead_worker=worker)
            assert sorted(map(int, rescued)) == sorted(self.model.rescue(worker))
            self.compare()
