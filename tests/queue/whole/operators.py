"""What operators do, and what processes do as time goes by."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import redis
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.queue.whole.machine import NAMES, Choice, acts, fates, kinds, picks
from tests.queue.whole.model import ENDED, LEASE_MS, Job
from tests.queue.whole.workers import Workers
from tests.support.mortality import Called


class Operators(Workers):
    @rule(ms=st.sampled_from([300, 700, 1000]))
    def a_moment_passes(self, ms: int) -> None:
        self.time_passes(ms, 0, None)

    @rule(ms=st.sampled_from([1, 250, 700, 1000, 3000, LEASE_MS + 1]), which=st.integers(0, 1), choice=fates)
    def time_passes(self, ms: int, which: int, choice: Choice) -> None:
        self.scripts.wait(ms)
        self.model.now = self.scripts.now
        upkeep, firing = self.processes[which]

        def tend() -> None:
            tasks = (upkeep.promote, upkeep.time_out, upkeep.rescue, upkeep.balance, upkeep.sweep_flows)
            for task in (firing.run, *tasks):
                try:
                    task(self.mortal)
                except redis.ConnectionError:
                    pass  # the loop goes on with the next

        is_alive, executed = self.live(choice, tend)
        for each in executed:
            self.tended(each)
        if not is_alive:
            self.processes[which] = self.new_process()
        self.compare()

    def tended(self, call: Called) -> None:
        if call.name == "promote":
            self.model.promote()
        elif call.name == "timeout" and call.answer == 1:
            job = self.model.jobs[int(call.args[0])]
            assert 0 < job.deadline <= self.model.now and job.place == "active"
            self.model.fail(job, "now")
        elif call.name == "rescue":
            assert sorted(map(int, call.answer)) == sorted(self.model.rescue())
        elif call.name == "fire_schedule" and call.answer[0] in (1, 2):
            asked = json.loads(call.args[1])
            name, at = asked["name"], int(asked["fires"])
            assert at not in self.occurrences[name] and at <= self.model.now, (name, at)
            self.occurrences[name].add(at)
            if call.answer[0] == 1:
                job = self.model.create(Job(int(call.answer[1]), "keyed", "a"))
                self.by_schedule(name, job, asked["overlap"])
            else:
                assert asked["overlap"] == "skip" and self.last_of(name) is not None

    def last_of(self, name: str) -> Job | None:
        """The job that a schedule created last, if it has not ended."""
        job = self.model.jobs.get(self.last_jobs.get(name, 0))
        return job if job is not None and job.place not in ENDED else None

    def by_schedule(self, name: str, job: Job, overlap: str) -> None:
        last = self.last_of(name)
        if last is not None:
            assert overlap != "skip"
            if overlap == "replace":
                self.model.cancel(last)
        self.last_jobs[name] = job.id

    @rule(name=st.sampled_from(NAMES), what=st.sampled_from(["define", "define", "run", "pause", "resume", "remove"]),
          overlap=st.sampled_from(["skip", "allow", "replace"]), choice=fates)  # fmt: skip
    def schedule(self, name: str, what: str, overlap: str, choice: Choice) -> None:
        known = name in self.every
        if not self.few() or (known and what == "define") or (not known and what != "define"):
            return
        given: Any = {"every": 1000, "overlap": overlap, "missed": "all"}
        acts: dict[str, Callable[[], Any]] = {
            "define": lambda: self.queue.schedule(name, "keyed", {"k": "a"}, **given),
            "run": lambda: self.queue.run_schedule_now(name), "pause": lambda: self.queue.pause_schedule(name),
            "resume": lambda: self.queue.resume_schedule(name), "remove": lambda: self.queue.unschedule(name),
        }  # fmt: skip
        _, executed = self.live(choice, acts[what])
        ran = next((each for each in executed if each.name == "run_schedule"), None)
        if ran is not None:
            job = self.model.create(Job(int(ran.answer), "keyed", "a"))
            self.by_schedule(name, job, "allow")
        saved = {each.name: each for each in self.queue.schedules()}
        if what in ("pause", "resume", "remove") and executed:
            self.every[name] = 0  # from now on it may leave times out
        if name not in saved:
            self.every.pop(name, None)
            self.occurrences.pop(name, None)
            self.last_jobs.pop(name, None)
        elif name not in self.every:
            self.every[name] = saved[name].next_at or 0
        self.compare()

    # Operators

    @precondition(lambda self: self.job(0, "failed") is not None)
    @rule(pick=picks, choice=fates)
    def retry(self, pick: int, choice: Choice) -> None:
        self.operate(pick, choice, "retry")

    @precondition(lambda self: self.job(0, "suspended", "children", "delayed") is not None)
    @rule(pick=picks, choice=fates)
    def promote_by_hand(self, pick: int, choice: Choice) -> None:
        self.operate(pick, choice, "promote")

    @precondition(lambda self: len(self.model.jobs) > 4)
    @rule(pick=picks, choice=fates, what=acts)
    def operate(self, pick: int, choice: Choice, what: str) -> None:
        wanted = {"promote": ("suspended", "children", "delayed"), "retry": ("failed",)}.get(what, ())
        job = self.job(pick, *wanted)
        if job is None:
            return
        queue, model, of = self.queue, self.model, job.id

        def priority() -> None:
            job.priority = -3

        def all_below(act: Callable[[Job], None]) -> None:
            below = model.below(job)
            for each in (job, *below):
                act(each)

        known: dict[str, tuple[Callable[[], Any], str, Callable[[], object]]] = {
            "cancel": (lambda: queue.cancel(of), "cancel", lambda: model.cancel(job)),
            "remove": (lambda: queue.remove(of), "remove", lambda: model.remove(job)),
            "cancel all": (lambda: queue.cancel(of, children=True), "cancel", lambda: all_below(model.cancel)),
            "remove all": (lambda: queue.remove(of, children=True), "remove", lambda: all_below(model.remove)),
            "suspend": (lambda: queue.pause_job(of), "suspend", lambda: job.place in ENDED or model.suspend(job)),
            "promote": (lambda: queue.promote(of), "move", lambda: model.promote_by_hand(job)),
            "retry": (lambda: queue.retry(of), "move", lambda: model.retry(job)),
            "priority": (lambda: queue.set_priority(of, -3), "set_priority", priority),
        }
        act, script, effect = known[what]
        _, executed = self.live(choice, act)
        # A repeated step finds the job where the first one has put it: it does nothing, or the same once more.
        for _ in [each for each in executed if each.name == script][: 1 if what != "promote" else None]:
            if what != "promote" or job.place in ("suspended", "children", "delayed"):
                effect()
        self.compare()

    @precondition(lambda self: len(self.model.jobs) > 4)
    @rule(kind=kinds, is_paused=st.booleans())
    def pause_a_type(self, kind: str, is_paused: bool) -> None:
        if is_paused and len(self.model.paused) < 2:
            self.queue.pause(kind)
            self.model.paused.add(kind)
        elif not is_paused:
            self.queue.resume(kind)
            self.model.paused.discard(kind)

    @rule(kind=kinds, part=st.sampled_from(["all", "key"]), count=st.integers(0, 2))
    def change_a_limit(self, kind: str, part: str, count: int) -> None:
        """0 lifts it. Only where nothing runs: what runs already would count for no limit by key."""
        if not self.model.of(kind, "active"):
            self.set_limit(kind, part, {"concurrency": count} if count else None)
            self.compare()
