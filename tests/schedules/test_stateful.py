"""Random runs of schedules with several processes, any of which may die between two commands, and a clock that is set.

``KUE_SEQUENCES=1000`` runs so many random sequences instead of the few that are the same each time.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import kue
from kue.schedules.firing import Firing
from tests.support.consistency import inconsistencies
from tests.support.mortality import Clocked, Died, Fate, Mortal

SEQUENCES = int(os.environ.get("KUE_SEQUENCES", "0"))
NOW = 1_700_000_000_000
NAMES = ("a", "b", "c")

names = st.sampled_from(NAMES)
waits = st.sampled_from([200, 1000, 1001, 2500, 5000])
rules = st.fixed_dictionaries({
    "every": st.sampled_from([1000, 3000]),
    "overlap": st.sampled_from(["skip", "allow", "allow", "replace"]),
    "missed": st.sampled_from(["once", "skip", "all", "all"]), "jitter": st.sampled_from([0, 0, 400]),
    "limit": st.sampled_from([None, None, 3]),
})  # fmt: skip


class Schedules(RuleBasedStateMachine):
    """Each time gives at most one job, and with ``missed="all"`` one at the least. ``client`` is set by the test."""

    client: redis.Redis
    queue: kue.Queue
    scripts: Clocked

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.scripts.now = NOW
        self.processes = [self.new_process() for _ in range(2)]
        self.jumps = False
        #: For each schedule the first of the times that must have a job by now, as long as nothing excuses them.
        self.first: dict[str, int] = {}
        self.made = 0

    def new_process(self) -> Firing:
        return Firing(self.queue.session, self.queue._store, lambda: None)

    @initialize(options=st.lists(rules, min_size=2, max_size=3), jumps=st.booleans())
    def begin(self, options: list[dict[str, Any]], jumps: bool) -> None:
        self.jumps = jumps
        for name, each in zip(NAMES, options, strict=False):
            self.define(name, each)

    # What operators do

    @rule(name=names, options=rules, act=st.sampled_from(["define", "pause", "resume", "remove", "run", "end"]))
    def operate(self, name: str, options: dict[str, Any], act: str) -> None:
        if act == "define":
            self.define(name, options)
        elif any(each.name == name for each in self.queue.schedules()):
            getattr(self, act)(name)

    def define(self, name: str, options: dict[str, Any]) -> None:
        self.made += 1
        is_new = all(each.name != name for each in self.queue.schedules())
        saved = self.queue.schedule(name, "t", {"n": self.made}, **options)
        must_fire = (options["missed"], options["overlap"], options["limit"]) == ("all", "allow", None)
        self.first.pop(name, None)
        if must_fire and saved.next_at is not None and is_new:
            self.first[name] = saved.next_at

    def pause(self, name: str) -> None:
        self.queue.pause_schedule(name)
        self.first.pop(name, None)

    def resume(self, name: str) -> None:
        self.queue.resume_schedule(name)

    def remove(self, name: str) -> None:
        self.queue.unschedule(name)
        self.first.pop(name, None)
        for job_id in self.jobs_of(name):  # another one of that name may come at the same times
            self.queue.remove(job_id)

    def run(self, name: str) -> None:
        self.client.hset(self.queue.keys.job(self.queue.run_schedule_now(name).id), "by_hand", "1")

    def end(self, name: str) -> None:
        for job_id in self.jobs_of(name):
            if self.queue.get(job_id).state == "inactive":
                self.queue.set_state(job_id, "complete")

    # What processes do

    @rule(ms=waits, which=st.integers(0, 1), end=st.integers(0, 16))
    def time_passes_and_a_process_dies_as_it_fires(self, ms: int, which: int, end: int) -> None:
        self.scripts.wait(ms)
        client = Mortal(self.client.connection_pool, Fate())
        client.fate.choose(end)
        try:
            for _ in range(4):
                self.processes[which].run(client)
        except Died:
            self.processes[which] = self.new_process()

    @rule(ms=waits, which=st.integers(0, 1))
    def time_passes_and_a_process_fires(self, ms: int, which: int) -> None:
        self.scripts.wait(ms)
        self.settle(self.processes[which])

    @rule(ms=waits)
    def time_passes_and_both_fire_at_once(self, ms: int) -> None:
        """One reads what is due, the other fires it, the first goes on; and its call is sent twice."""
        self.scripts.wait(ms)
        late, early = self.processes
        each = self.scripts.run_each

        def after_the_other(client: Any, name: str, calls: Any) -> Any:
            self.scripts.run_each = each  # type: ignore[method-assign]
            early.run(self.client)
            each(client, name, calls)
            return each(client, name, calls)

        self.scripts.run_each = after_the_other  # type: ignore[method-assign]
        try:
            late.run(self.client)
        finally:
            self.scripts.run_each = each  # type: ignore[method-assign]
        self.settle(early)

    @rule(minutes=st.sampled_from([-30, -1, 1, 30]), which=st.integers(0, 1))
    def the_clock_is_set(self, minutes: int, which: int) -> None:
        if self.jumps:
            self.scripts.now += minutes * 60_000
            self.first.clear()  # of what lies in a jump one job is enough
            self.settle(self.processes[which])

    # What must be so

    def settle(self, process: Firing) -> None:
        """Fire until nothing is due."""
        for _ in range(300):
            if process.run(self.client) > 0:
                break
        else:
            pytest.fail("it fires without end")
        self.check()

    def check(self) -> None:
        jobs = [job for job_id in self.ids() if (job := self.client.hgetall(f"q:job:{job_id}"))]
        seen = Counter((job["schedule"], job["occurrence"]) for job in jobs if "by_hand" not in job)
        assert set(seen.values()) <= {1}, seen
        for name, first in self.first.items():
            saved = self.queue.get_schedule(name)
            there = {int(job["occurrence"]) for job in jobs if job["schedule"] == name}
            step = saved.definition.every_ms or 0
            expected = set(range(first, self.scripts.now - saved.definition.jitter_ms + 1, step))
            assert expected <= there, (name, expected - there)
        for saved in self.queue.schedules():
            assert saved.paused or saved.ended or (saved.due_at or 0) > self.scripts.now
            score = self.client.zscore("q:schedules", saved.name)
            assert score == (saved.due_at or kue.states.HOLD_UNTIL_MS)
            limit = saved.definition.limit
            assert limit is None or not saved.next_at or saved.count < limit or saved.paused

    def teardown(self) -> None:
        self.settle(self.processes[0])
        assert inconsistencies(self.client) == []

    def ids(self) -> list[int]:
        return [int(each) for state in ("inactive", "complete", "failed") for each in self.queue.ids(state)]

    def jobs_of(self, name: str) -> list[int]:
        return [each for each in self.ids() if self.client.hget(f"q:job:{each}", "schedule") == name]


@pytest.mark.slow
@pytest.mark.parametrize("sequences", [6, pytest.param(15, marks=pytest.mark.long)])
def test_random_runs_of_schedules(
    redis_client: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, sequences: int
) -> None:
    queue = kue.create_queue(redis_url)
    scripts = Clocked(queue.keys)
    queue.session.scripts = scripts
    queue._schedules._scripts = scripts
    queue._queries._scripts = queue._operations._scripts = scripts  # type: ignore[attr-defined]
    monkeypatch.setattr("kue.schedules.firing.time", scripts)
    monkeypatch.setattr("kue.schedules.store.server_ms", lambda client: scripts.now)
    Schedules.client, Schedules.queue, Schedules.scripts = redis_client, queue, scripts
    chosen = settings(
        max_examples=SEQUENCES or sequences, stateful_step_count=20, deadline=None, derandomize=not SEQUENCES,
        database=None, phases=[Phase.generate, *([Phase.shrink] if SEQUENCES else [])],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    try:
        run_state_machine_as_test(Schedules, settings=chosen)
    finally:
        queue.close()


