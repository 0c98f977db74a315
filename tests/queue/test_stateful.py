"""Random runs of operations, each compared with a model after every step: sets, scores, hashes, tokens, leases, events.

``KUE_SEQUENCES=1000`` runs so many random sequences instead of the few that are the same each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import kue
from kue import backoff
from kue.errors import JobNotFound, LeaseLost, WrongState
from kue.storage.keys import Keys
from kue.storage.script_values import FetchResult, Outcome, Reservation, ScriptResult
from kue.storage.scripts import Scripts
from tests.queue.comparison import blurred, expected, found
from tests.queue.model import ENDED, HOLD_UNTIL_MS, LEASE_MS, RESULTS, STATES, Job, Model

SEQUENCES = int(os.environ.get("KUE_SEQUENCES", "0"))
NOW = 1_700_000_000_000
KINDS = ["t", "a:b"]
WORKERS = ["kue:host:1", "kue:host:2"]
BACKOFFS = ["", "true", '{"type":"fixed","delay":300}', '{"type":"exponential","delay":200}', "function(a){ return a }"]

kinds = st.sampled_from(KINDS)
priorities = st.sampled_from(["0", "-10", "10", "2.5"])
ttls = st.sampled_from(["", "400", "3000"])
picks = st.integers(0, 30)  # of what there is, modulo its number
waits = st.sampled_from([1, 100, 400, 1_000, 6_000, LEASE_MS + 1])

#: The optional values of ``create.lua``, in its order.
OPTIONAL = ("max_attempts", "delay", "ttl", "backoff", "removeOnComplete")
jobs = st.fixed_dictionaries({
    "type": kinds, "priority": priorities, "max_attempts": st.sampled_from(["", "1", "2", "4", "9"]),
    "delay": st.sampled_from(["", "", "1", "500"]), "ttl": ttls, "backoff": st.sampled_from(BACKOFFS),
    "removeOnComplete": st.sampled_from(["", "", "true"]),
})  # fmt: skip


class Operations(RuleBasedStateMachine):
    """Each rule does one thing to Redis and to the model; ``settle`` compares. ``client`` is set by the test."""

    client: redis.Redis
    queue: kue.Queue

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.keys = Keys()
        self.scripts = Scripts(self.keys)
        self.model = Model(NOW)
        #: (job id, token) of every attempt that was ever begun: late words are tried too.
        self.attempts: list[tuple[int, str]] = []
        self.calls = 0
        self.heard: Any = self.client.pubsub()

    @initialize(options=st.lists(jobs, min_size=2, max_size=3))
    def begin(self, options: list[dict[str, str]]) -> None:
        """Begin with some jobs, of which some are held: an empty queue has little to tell."""
        self.heard.subscribe(self.keys.events)
        self.heard.get_message(timeout=5)
        for each in options:
            self.make({**each, "delay": ""}, 1)
        self.settle()
        for kind in KINDS:
            self.reserve(kind, [1, 2], WORKERS[0])

    def teardown(self) -> None:
        self.heard.close()

    @property
    def at(self) -> dict[str, int]:
        return {"now_ms": self.model.now}

    def job(self, pick: int, *wanted: str) -> Job | None:
        """One of the jobs, in one of the states if some are wanted."""
        found = [job for job in self.model.jobs.values() if not wanted or job.state in wanted]
        return found[pick % len(found)] if found else None

    def attempt(self, pick: int) -> tuple[int, str]:
        """Mostly an attempt that runs, or one that is the last of its job, else one that has long ended."""
        tokens = {job.id: job.token for job in self.model.jobs.values()}
        last = [each for each in self.attempts if tokens.get(each[0]) == each[1]]
        running = [each for each in last if self.model.holds(*each) == 1]
        found = (running, last, self.attempts)[(0, 0, 0, 1, 2)[pick % 5]] or self.attempts
        return found[pick % len(found)]

    # A producer

    @rule(options=jobs, count=st.integers(1, 3))
    def create(self, options: dict[str, str], count: int) -> None:
        if self.few():
            self.make(options, count)
            self.settle()

    def few(self) -> bool:
        """Whether there is room for more jobs: with few, each goes through much."""
        return sum(job.state not in ENDED for job in self.model.jobs.values()) < 4

    def make(self, options: dict[str, str], count: int) -> None:
        row = (options["type"], '{"n":1}', options["priority"], *(options[name] for name in OPTIONAL))
        first = self.scripts.create(self.client, [row] * count, **self.at)
        given = {name: options[name] for name in OPTIONAL if options[name]}
        made = [self.model.create(options["type"], '{"n":1}', options["priority"], **given) for _ in range(count)]
        assert first == made[0].id

    @rule(kind=kinds)
    def repeat_a_call_whose_answer_was_lost(self, kind: str) -> None:
        if not self.few():
            return
        self.calls += 1
        row = (kind, "{}", "0", "1", "", "", "", "")
        lane: Any = {"lane": "ab", "sequence": self.calls, **self.at}
        first, again = (self.scripts.create(self.client, [row], **lane) for _ in "12")
        assert first == again == self.model.create(kind, "{}", "0", max_attempts="1").id
        self.settle()

    @rule(pick=picks, priority=priorities, ttl=ttls, delay=st.sampled_from(["", "900"]))
    def update(self, pick: int, priority: str, ttl: str, delay: str) -> None:
        job = self.job(pick)
        if job is None:
            return
        if job.number("promote_at") == HOLD_UNTIL_MS:
            delay = ""
        changes = {"data": '{"n":2}', "priority": priority, "ttl": ttl, "delay": delay or job.fields.get("delay", "")}
        self.scripts.update(self.client, job.id, changes, **self.at)
        self.model.update(job, changes)
        self.settle()

    # A worker

    @rule(kind=kinds, slots=st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True),
          worker=st.sampled_from(WORKERS))  # fmt: skip
    def reserve(self, kind: str, slots: list[int], worker: str) -> None:
        self.calls += 1
        nonce = f"n{self.calls}"
        reservation = Reservation({kind: slots}, LEASE_MS, nonce, worker)
        turn = self.scripts.reserve(self.client, reservation, **self.at)
        self.took(turn, self.model.reserve(kind, slots, nonce, worker))
        assert turn.paused == ([kind] if kind in self.model.paused else [])
        if turn.jobs:  # the same question again, since its answer was lost: the same answer
            again = self.scripts.reserve(self.client, reservation._replace(again=True), **self.at)
            assert sorted(job[:3] for job in again.jobs) == sorted(job[:3] for job in turn.jobs)
        self.settle()

    def took(self, turn: FetchResult, taken: list[Job]) -> None:
        self.attempts += [(job.id, str(job.token)) for job in taken]
        assert [(int(job.job_id), job.token) for job in turn.jobs] == [(job.id, job.token) for job in taken]

    def acknowledge(self, pick: int, verb: str, values: tuple[str, ...], then: Callable[[Job], None]) -> None:
        if not self.attempts:
            return
        job_id, token = self.attempt(pick)
        expected = self.model.end(job_id, token)
        assert self.scripts.acknowledge(self.client, Outcome(verb, str(job_id), token, values), **self.at) == expected
        if expected == ScriptResult.OK:
            then(self.model.jobs[job_id])
        self.settle()

    @rule(pick=picks, result=st.sampled_from(list(RESULTS)))
    def complete(self, pick: int, result: str) -> None:
        kept = bool(RESULTS[result])
        self.acknowledge(pick, "complete", (result, str(int(kept))), lambda job: self.model.complete(job, result, kept))

    @rule(pick=picks, retry=st.sampled_from(["now", "wait", "wait", "never"]), delay=st.sampled_from(["", "700"]),
          note=st.sampled_from(["", "why"]))  # fmt: skip
    def fail(self, pick: int, retry: str, delay: str, note: str) -> None:
        values = ("Error: é", "Error: é", "Error: é", retry, delay, note)
        self.acknowledge(pick, "fail", values, lambda job: self.model.fail(job, "Error: é", retry, delay, note))

    @rule(pick=picks, delay=st.sampled_from(["", "600"]))
    def release(self, pick: int, delay: str) -> None:
        self.acknowledge(pick, "release", ("stopped", delay), lambda job: self.model.release(job, "stopped", delay))

    @rule(pick=picks, kind=kinds, slots=st.lists(st.integers(0, 9), max_size=2, unique=True))
    def finish_two_and_reserve(self, pick: int, kind: str, slots: list[int]) -> None:
        if not self.attempts:
            return
        self.calls += 1
        nonce, both = f"n{self.calls}", [self.attempt(pick), self.attempt(pick + 1)]
        values = [("complete", ("null", "0")), ("fail", ("no", "no", "no", "now", "", ""))]
        outcomes, codes = [], []
        for (job_id, token), (verb, said) in zip(both, values, strict=True):
            outcomes.append(Outcome(verb, str(job_id), token, said))
            codes.append(self.model.end(job_id, token))
            if codes[-1] == ScriptResult.OK and verb == "complete":
                self.model.complete(self.model.jobs[job_id], "null", False)
            elif codes[-1] == ScriptResult.OK:
                self.model.fail(self.model.jobs[job_id], "no", "now", "")
        reservation = Reservation({kind: slots}, LEASE_MS, nonce, WORKERS[0])
        turn = self.scripts.finish_and_reserve(self.client, outcomes, reservation, **self.at)
        self.took(turn, self.model.reserve(kind, slots, nonce, WORKERS[0]))
        assert turn.codes == codes
        self.settle()

    @rule(pick=picks, outside=st.booleans(), percent=st.integers(-1, 100), data=st.sampled_from([None, {"é": "/"}]),
          what=st.sampled_from(["log", "progress", "progress", "renew", "isolate"]))  # fmt: skip
    def speak(self, pick: int, outside: bool, percent: int, data: Any, what: str) -> None:
        """A handler's log and progress, from outside an attempt too; and the heartbeat."""
        if not self.attempts:
            return
        if what == "renew":
            held = self.attempts[-12:]
            pairs = [(str(job_id), token) for job_id, token in held]
            lost = self.scripts.renew(self.client, pairs, lease_ms=LEASE_MS, **self.at)
            assert [int(job_id) for job_id in lost] == self.model.renew(held)
            return self.settle()
        job_id, token = self.attempt(pick)
        if what == "isolate":
            code, line = self.model.holds(job_id, token), "" if data is None else "đơn độc"
            found = self.scripts.isolate(self.client, job_id, token, line, alone=outside, **self.at)
            assert found == (ScriptResult.LOST if code == ScriptResult.DONE else code)
            if code == ScriptResult.OK:
                self.model.isolate(self.model.jobs[job_id], line, outside)
            return self.settle()
        token = "" if outside else token
        code = self.model.may_write(job_id, token)
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        with self.refused(code):
            if what == "log":
                self.scripts.log(self.client, job_id, token, "dòng", **self.at)
            else:
                self.scripts.progress(self.client, job_id, token, percent, text, data is not None, **self.at)
        if code == ScriptResult.OK and what == "log":
            self.model.add_log(self.model.jobs[job_id], "dòng")
        elif code == ScriptResult.OK:
            self.model.progress(self.model.jobs[job_id], percent, data, text)
        self.settle()

    # Time, and upkeep

    @rule(ms=waits, node_promotes=st.sampled_from([False, False, True]))
    def time_passes_and_delayed_jobs_are_promoted(self, ms: int, node_promotes: bool) -> None:
        self.model.now += ms
        if node_promotes:
            self.client.set("promotion:lock", "x")
        promoted, _ = self.scripts.promote(self.client, **self.at)
        assert promoted == (0 if node_promotes else self.model.promote())
        self.client.delete("promotion:lock")
        self.settle()

    @rule(ms=waits)
    def time_passes_and_overdue_jobs_are_timed_out(self, ms: int) -> None:
        self.model.now += ms
        for job in self.model.overdue():
            made, fields = job.number("attempts"), job.fields
            retry = backoff.decide(fields.get("backoff"), made + 1, job.number("delay") or None, {})
            code = self.scripts.timeout(self.client, job.id, job.deadline, made, *retry, **self.at)
            assert (code == ScriptResult.OK) == self.model.time_out(job, *retry)
        self.settle()

    @rule(pick=picks)
    def nothing_is_timed_out_by_a_look_that_is_out_of_date(self, pick: int) -> None:
        job = self.job(pick)
        if job is not None:
            deadline, made = self.model.now, job.number("attempts")
            if job in self.model.overdue():
                deadline, made = job.deadline, made + 1
            code = self.scripts.timeout(self.client, job.id, deadline, made, "now", "", "", **self.at)
            assert code in (ScriptResult.DONE, ScriptResult.LOST)
            self.settle()

    @rule(ms=waits, worker=st.sampled_from(["", "", *WORKERS]))
    def time_passes_and_lapsed_jobs_are_rescued(self, ms: int, worker: str) -> None:
        self.model.now += ms
        rescued = self.scripts.rescue(self.client, dead_worker=worker, **self.at)
        assert [int(job_id) for job_id in rescued] == self.model.rescue(worker)
        self.settle()

    @rule(kind=kinds)
    def a_token_is_lost_and_restored(self, kind: str) -> None:
        if self.model.tokens.get(kind):
            self.client.lpop(self.keys.tokens(kind))
            self.model.tokens[kind] -= 1
        self.scripts.balance(self.client)
        self.model.balance()
        self.settle()

    # An operator

    @rule(pick=picks, what=st.sampled_from(["cancel", "suspend", "remove", "retry", "promote", *STATES]))
    def operate(self, pick: int, what: str) -> None:
        wanted = {"retry": "failed", "promote": "delayed"}.get(what)
        likely = wanted or ("active" if pick % 2 else "")  # what runs has most to lose
        job = (self.job(pick, likely) if likely and pick % 3 else None) or self.job(pick)
        if job is None:
            return
        was, call = job.state, self.operation(job, what, wanted)
        if (wanted and was != wanted) or (what in ("cancel", "suspend") and was in ENDED):
            with pytest.raises(WrongState):
                call()
        else:
            assert call() in (was, None)
            if what in ("cancel", "suspend", "remove"):
                getattr(self.model, what)(job)
            else:
                self.model.move(job, what if what in STATES else "inactive")
        self.settle()

    def operation(self, job: Job, what: str, wanted: str | None) -> Callable[[], Any]:
        if what in ("cancel", "suspend", "remove"):
            return partial(getattr(self.scripts, what), self.client, job.id, **self.at)
        state, sources = (what, ()) if what in STATES else ("inactive", (wanted,))
        return partial(self.scripts.move, self.client, job.id, state, sources, **self.at)

    @rule(pick=picks)
    def ask_about_a_job_that_is_gone(self, pick: int) -> None:
        gone = self.model.last_id - pick
        if gone not in self.model.jobs:
            for what in ("remove", "cancel", "suspend"):
                with pytest.raises(JobNotFound):
                    getattr(self.scripts, what)(self.client, gone, **self.at)
            self.settle()

    @rule(kind=kinds, paused=st.sampled_from([False, False, True]))
    def pause(self, kind: str, paused: bool) -> None:
        if paused:
            self.queue.pause(kind)
            self.model.paused.add(kind)
        else:
            self.queue.resume(kind)
            self.model.paused.discard(kind)
        self.settle()

    # A Node process, which knows no tokens of attempts and no leases

    @rule(kind=kinds, pick=picks)
    def a_node_worker_completes_a_job_or_takes_one(self, kind: str, pick: int) -> None:
        self.model.now += 1  # in one millisecond nobody takes, puts back and takes again
        found = [job for job in self.model.jobs.values() if job.state == "active" and not self.model.ours(job)]
        if found and pick % 2:
            job = found[pick % len(found)]
            self.model.node_completes(job)
            self.node_writes(job, "active")
            self.client.incrby(self.keys.work_time, 7)
        else:
            self.client.lpop(self.keys.tokens(kind))
            taken = self.model.node_takes(kind, f"kue:host:99:{kind}:1")
            if taken is not None:
                self.node_writes(taken, "inactive")
        self.settle()

    @rule(pick=picks)
    def node_s_dashboard_puts_a_running_job_back(self, pick: int) -> None:
        job = self.job(pick, "active")
        if job is not None:
            self.model.node_puts_back(job)
            self.node_writes(job, "active")
            self.client.lpush(self.keys.tokens(job.type), "1")
            self.heard_of_node(job, "enqueue", job.type)
            self.settle()

    def heard_of_node(self, job: Job, event: str, *args: Any) -> None:
        """Say an event as a Node process does: the model says it for both."""
        self.client.publish(self.keys.events, json.dumps({"id": job.id, "event": event, "args": [event, *args]}))

    def node_writes(self, job: Job, before: str) -> None:
        """Write as a Node process does, by plain commands, what the model holds by now."""
        self.client.zrem(self.keys.state(before), job.zid)
        self.client.zrem(self.keys.type_state(job.type, before), job.zid)
        self.client.hset(self.keys.job(job.id), mapping=job.fields)
        self.client.zadd(self.keys.state(job.state), {job.zid: job.score()})
        self.client.zadd(self.keys.type_state(job.type, job.state), {job.zid: job.priority})

    # The comparison

    @staticmethod
    def refused(code: int) -> Any:
        errors = {-1: JobNotFound, -2: LeaseLost}
        return pytest.raises(errors[code]) if code in errors else _accepted()

    def settle(self) -> None:
        """Compare all that Redis holds, and all that was said, with the model."""
        assert found(self.client) == expected(self.model)
        counts = {kind: dict.fromkeys(STATES, 0) for kind in self.model.types}
        for job in self.model.jobs.values():
            counts[job.type][job.state] += 1
        assert self.queue.counts_by_type() == counts
        self.client.publish(self.keys.events, '{"id":0,"event":"mark","args":["mark"]}')
        said = []
        while (message := self.heard.get_message(timeout=5)) is not None:
            event = json.loads(message["data"])
            if event["event"] == "mark":
                break
            assert event["args"][0] == event["event"]
            said.append((event["id"], event["event"], tuple(event["args"][1:])))
        assert [blurred(event) for event in said] == self.model.said
        self.model.said.clear()


class _accepted:
    """In place of ``pytest.raises`` where nothing is to be raised."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exc_info: object) -> None: ...


@pytest.mark.slow
@pytest.mark.parametrize("sequences", [15, pytest.param(50, marks=pytest.mark.long)])
def test_whatever_happens_redis_holds_and_says_what_the_model_does(
    queue: kue.Queue, redis_client: redis.Redis, sequences: int
) -> None:
    # The machine is made anew for each run, so what it needs hangs on a class of this test's own.
    machine = type("Machine", (Operations,), {"client": redis_client, "queue": queue})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SEQUENCES or sequences,
            stateful_step_count=50,
            derandomize=not SEQUENCES,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if SEQUENCES else (Phase.generate,),  # shrinking takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
