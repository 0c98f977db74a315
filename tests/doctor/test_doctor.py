"""The doctor: each kind of inconsistency is found, named with the job, and repaired; a clean queue has none."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from kue import doctor
from kue.errors import RetryLater, UnrecoverableError
from kue.queue import Queue
from tests.support import wait_until
from tests.support.script_steps import NOW, Steps

STATES = ("inactive", "active", "complete", "failed", "delayed")


def findings(queue: Queue, fix: bool = False) -> list[doctor.Finding]:
    return list(doctor.examine(queue, fix, settle_s=0.02, tokens_settle_s=0.1))


def repaired(queue: Queue) -> list[str]:
    """Examine without and with repair; return what was found, once nothing is found any more."""
    found = findings(queue)
    assert not any(each.fixed for each in found)
    assert [each[:2] for each in findings(queue, fix=True)] == [each[:2] for each in found]
    assert findings(queue) == []
    return [f"{each.job_id} {each.what}" for each in found]


def in_state(steps: Steps, state: str, **options: Any) -> str:
    job_id = steps.create(**options)
    if state == "active":
        steps.reserve(lease=10**9)
    elif state != "inactive":
        steps.client.delete(steps.keys.tokens("t"))
        steps.scripts.move(steps.client, job_id, state)
    return job_id


def test_a_clean_queue_that_was_used_in_every_way_has_nothing_wrong(queue: Queue, redis_client: Any) -> None:
    # Given jobs of several types that waited, ran, failed, were retried, cancelled, promoted, moved and removed
    def work(job: Any) -> Any:
        job.log("line")
        job.progress(1, 2)
        if job.data.get("fail") == "once" and job.attempts_made == 0:
            raise ValueError("once")
        if job.data.get("fail") == "always":
            raise UnrecoverableError("always")
        if job.data.get("fail") == "later" and "later" not in str(queue.log(job.id)):
            raise RetryLater(20, "later", counts=False)
        return {"ok": True}

    queue.process("a", 3, work)
    queue.process("b:c", 2, work)
    for n in range(40):
        job = queue.create(["a", "b:c"][n % 2], {"n": n}).priority([0, 10, -10, 3.5][n % 4]).attempts(3)
        job.data["fail"] = {7: "once", 11: "always", 13: "later"}.get(n, "")
        if n % 5 == 0:
            job.delay(50)
        if n % 6 == 0:
            job.remove_on_complete()
        if n % 3 == 0:
            job.backoff({"type": "fixed", "delay": 20})
        if n % 4 == 0:
            job.ttl(10_000)
        job.save()
    wait_until(lambda: queue.inactive_count() + queue.active_count() + queue.delayed_count() == 0, 10)
    for n in range(6):
        queue.create("later", {"n": n}).delay(10**6).save()
    jobs = queue.create_many({"type": "idle", "data": {"n": n}} for n in range(8))
    queue.promote(queue.delayed()[0])
    queue.cancel(queue.delayed()[0])
    queue.set_priority(jobs[0].id, "low")
    queue.cancel(jobs[1].id)
    queue.retry(jobs[1].id)
    queue.remove(jobs[2].id)
    queue.set_state(jobs[3].id, "complete")
    queue.set_state(jobs[4].id, "delayed")
    queue.set_priority(jobs[4].id, 7)
    queue.remove(queue.complete()[0])
    queue.pause_job(jobs[5].id)
    queue.pause_job(queue.delayed()[1])
    queue.resume_job(jobs[5].id)
    queue.cancel(jobs[6].id, discard=True)
    queue.save_unique(queue.create("idle", {"url": "u"}), "url")
    queue.save_unique(queue.create("idle", {"url": "u"}), "url")
    queue.pause("idle")
    # Then the doctor finds nothing in it
    assert queue.card("failed") >= 2
    assert findings(queue) == []


@pytest.mark.slow
def test_a_queue_at_work_has_nothing_wrong(redis_url: str) -> None:
    # Given two queues that create and work on jobs as fast as they can
    queues = [Queue(redis_url), Queue(redis_url)]
    stop = threading.Event()

    def work(job: Any) -> None:
        if job.data["n"] % 10 == 0:
            raise ValueError("no")

    def produce() -> None:
        n = 0
        while not stop.is_set():
            if sum(queues[0].counts()[state] for state in ("inactive", "active")) < 1000:
                queues[0].create_many({"type": "t", "data": {"n": n + i}, "attempts": 2} for i in range(100))
                n += 100

    for each in queues:
        each.retain(complete=200, failed=50)
        each.process("t", 20, work)
    thread = threading.Thread(target=produce)
    thread.start()
    try:
        # When the doctor looks through them meanwhile, again and again
        found = []
        give_up = time.monotonic() + 1.0
        while time.monotonic() < give_up:
            found += list(doctor.examine(queues[1], settle_s=0.05))
        # Then it finds nothing
        assert found == []
    finally:
        stop.set()
        thread.join()
        for each in queues:
            each.shutdown(5)


def test_a_hash_without_a_type_is_removed_with_all_that_belongs_to_it(steps: Steps, queue: Queue) -> None:
    # Given what Node leaves when a job is removed while it runs
    steps.client.hset("q:job:5", mapping={"state": "complete", "attempts": 1})
    steps.client.zadd("q:jobs:complete", {"01|5": 0})
    steps.client.zadd("q:jobs:t:complete", {"01|5": 0})
    steps.client.incrby("q:ids", 5)
    assert repaired(queue) == ["5 in jobs:complete, jobs:t:complete, but its hash has no type, so it is not a job"]
    assert steps.client.keys("q:*") == ["q:ids"]


@pytest.mark.parametrize("state", STATES)
def test_members_without_a_hash_are_taken_out(steps: Steps, queue: Queue, state: str) -> None:
    kept = in_state(steps, "complete")
    job_id = in_state(steps, state)
    steps.client.delete(steps.keys.job(job_id), steps.keys.leases)
    assert repaired(queue) == [f"{job_id} in jobs, jobs:{state}, jobs:t:{state}, but there is no such job"]
    assert [each.id for each in queue.range(0, -1)] == [int(kept)]


@pytest.mark.parametrize("state", STATES)
def test_a_job_that_is_in_no_set_comes_back_into_those_of_its_state(steps: Steps, queue: Queue, state: str) -> None:
    job_id = in_state(steps, state, ttl="90000")
    before = [steps.client.zscore(key, f"01|{job_id}") for key in ("q:jobs", f"q:jobs:{state}", f"q:jobs:t:{state}")]
    for key in ("q:jobs", f"q:jobs:{state}", f"q:jobs:t:{state}"):
        steps.client.zrem(key, f"01|{job_id}")
    assert repaired(queue) == [f"{job_id} not in jobs, jobs:{state}, jobs:t:{state}"]
    assert steps.state(job_id) == state
    after = [steps.client.zscore(key, f"01|{job_id}") for key in ("q:jobs", f"q:jobs:{state}", f"q:jobs:t:{state}")]
    assert after[0] == before[0] and after[2] == before[2]
    if state in ("inactive", "delayed"):
        assert after == before


def test_a_job_that_a_node_worker_dropped_half_taken_waits_again_and_is_announced(steps: Steps, queue: Queue) -> None:
    job_id = steps.create()
    steps.client.zrem("q:jobs:t:inactive", f"01|{job_id}")
    steps.client.delete("q:t:jobs")
    assert [each.what for each in findings(queue)] == ["not in jobs:t:inactive"]
    subscription = steps.listen()
    assert findings(queue, fix=True)[0].fixed
    assert steps.heard(subscription) == ["enqueue"]
    assert steps.state(job_id) == "inactive" and steps.client.llen("q:t:jobs") == 1
    assert findings(queue) == []


def test_a_job_in_several_states_sets_stays_in_those_of_its_hash(steps: Steps, queue: Queue) -> None:
    job_id = in_state(steps, "complete")
    steps.client.zadd("q:jobs:failed", {f"01|{job_id}": 0})
    steps.client.zadd("q:jobs:t:failed", {f"01|{job_id}": 0})
    steps.client.zadd("q:jobs:other:failed", {f"01|{job_id}": 0})
    assert repaired(queue) == [f"{job_id} also in jobs:failed, jobs:other:failed, jobs:t:failed"]
    assert steps.state(job_id) == "complete"


def test_a_job_in_another_states_sets_than_its_hash_says_moves_to_the_hashs(steps: Steps, queue: Queue) -> None:
    job_id = in_state(steps, "failed")
    steps.client.hset(steps.keys.job(job_id), "state", "complete")
    found = repaired(queue)
    assert found == [f"{job_id} not in jobs:complete, jobs:t:complete", f"{job_id} also in jobs:failed, jobs:t:failed"]
    assert steps.state(job_id) == "complete"


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"data": "{}"}, "inactive"),
        ({"data": "{}", "promote_at": "9999999999999"}, "delayed"),
        ({}, "failed"),  # its producer died before the data was written
        ({"data": "{}", "started_at": "1"}, "failed"),
    ],
)
def test_a_job_without_a_state_waits_if_it_is_whole_and_never_ran(
    steps: Steps, queue: Queue, fields: dict[str, str], state: str
) -> None:
    steps.client.hset("q:job:1", mapping={"type": "t", "max_attempts": 1, "created_at": NOW, "priority": 0, **fields})
    steps.client.set("q:ids", 1)
    steps.client.sadd("q:job:types", "t")
    steps.client.zadd("q:jobs", {"01|1": 0})
    assert repaired(queue) == ["1 no state"]
    assert steps.state("1") == state
    assert "doctor" in steps.client.lrange("q:job:1:log", 0, -1)[0]


def test_a_job_in_an_unknown_state_fails_and_leaves_that_states_sets(steps: Steps, queue: Queue) -> None:
    # Given what PUT /job/1/state/nonsense does in Node's API
    job_id = steps.create()
    steps.client.hset(steps.keys.job(job_id), "state", "nonsense")
    for key, kind in (("q:jobs:inactive", "q:jobs:nonsense"), ("q:jobs:t:inactive", "q:jobs:t:nonsense")):
        steps.client.zrem(key, f"01|{job_id}")
        steps.client.zadd(kind, {f"01|{job_id}": 0})
    steps.client.delete("q:t:jobs")
    assert repaired(queue)[0] == f'{job_id} an unknown state "nonsense"'
    assert steps.state(job_id) == "failed"
    assert steps.client.exists("q:jobs:nonsense", "q:jobs:t:nonsense") == 0


def test_a_priority_that_is_no_number_becomes_zero(steps: Steps, queue: Queue) -> None:
    # Given what priority("nonsense") leaves in Node
    job_id = steps.create()
    steps.client.hset(steps.keys.job(job_id), "priority", "nonsense")
    for key in ("q:jobs", "q:jobs:inactive", "q:jobs:t:inactive"):
        steps.client.zrem(key, f"01|{job_id}")
    found = repaired(queue)
    assert found[0] == f'{job_id} its priority "nonsense" is not a number' and len(found) == 2
    assert steps.state(job_id) == "inactive"


def test_wrong_scores_are_corrected(steps: Steps, queue: Queue) -> None:
    late = in_state(steps, "delayed", delay="1000")
    timed = in_state(steps, "active", ttl="60000")
    low = in_state(steps, "complete", priority=10)
    steps.client.zadd("q:jobs:delayed", {f"01|{late}": 5})
    steps.client.zadd("q:jobs:active", {f"01|{timed}": 0})
    steps.client.zadd("q:jobs", {f"01|{low}": 1})
    assert sorted(repaired(queue)) == [
        f"{late} a wrong score in jobs:delayed",
        f"{timed} a wrong score in jobs:active",
        f"{low} a wrong score in jobs",
    ]
    assert steps.client.zscore("q:jobs:active", f"01|{timed}") > 10**12


def test_a_type_that_is_not_listed_is_added(steps: Steps, queue: Queue) -> None:
    job_id = steps.create()
    steps.client.srem("q:job:types", "t")
    assert repaired(queue) == [f'{job_id} its type "t" is not in job:types']
    assert queue.types() == ["t"]


def test_a_job_that_waits_for_its_turn_in_no_line_waits_again(steps: Steps, queue: Queue) -> None:
    queue.limit("t", by="data.n", concurrency=1)
    steps.create(2)
    assert findings(queue) == []
    steps.client.delete("q:limits", *steps.client.keys("q:limit:*"))
    wrong = 'delayed for the limit of key "1", but not in its line'
    assert sorted(repaired(queue)) == [f"1 {wrong}", f"2 {wrong}"]
    assert steps.state("1") == steps.state("2") == "inactive"


def test_a_lease_of_a_job_that_is_not_active_is_removed(steps: Steps, queue: Queue) -> None:
    job_id = in_state(steps, "complete")
    steps.client.zadd(steps.keys.leases, {job_id: 1, "77": 1})
    assert sorted(repaired(queue)) == [f"{job_id} a lease, but the job is complete", "77 a lease, but the job is gone"]
    assert steps.client.zcard(steps.keys.leases) == 0


def test_an_active_job_of_our_worker_without_a_lease_waits_again(steps: Steps, queue: Queue) -> None:
    job_id, token = steps.held()
    steps.client.zrem(steps.keys.leases, job_id)
    steps.client.hset(steps.keys.workers, "kue:host:1", "{}")
    assert repaired(queue) == [f"{job_id} active, but no worker holds its lease"]
    assert steps.state(job_id) == "inactive"
    assert steps.acknowledge("complete", job_id, token, "1", "1") == -2


def test_an_active_job_of_a_node_worker_is_left_alone_and_named_only_after_a_day(steps: Steps, queue: Queue) -> None:
    # Given a job that a Node worker took: no lease, and a worker that is not one of ours
    job_id, _ = steps.held()
    steps.client.zrem(steps.keys.leases, job_id)
    now = int(time.time() * 1000)
    steps.client.hset(steps.keys.job(job_id), "updated_at", now)
    assert findings(queue) == []
    # When nothing was heard of it for a day
    steps.client.hset(steps.keys.job(job_id), "updated_at", now - 25 * 3600 * 1000)
    # Then it is named, and stays as it is
    (found,) = findings(queue, fix=True)
    assert "active without a change for a day; its worker kue:host:1:t:0" in found.what and not found.fixed
    assert steps.state(job_id) == "active"


def test_logs_and_search_entries_of_no_job_are_removed(steps: Steps, queue: Queue) -> None:
    steps.client.rpush("q:job:7:log", "line")
    for index in ("q:search", "q:search:text"):
        steps.client.zadd(f"{index}:object:8", {"WLKM": 1})
        steps.client.zadd(f"{index}:word:WLKM", {"8": 1, "9": 1})
    found = repaired(queue)
    assert "7 a log, but there is no such job" in found
    assert "9 in search:text:word:WLKM, search:word:WLKM, but there is no such job" in found
    assert any(each.startswith("8 search:object:8") for each in found)
    assert steps.client.keys("q:*") == []


def test_missing_tokens_are_found_and_restored(steps: Steps, queue: Queue) -> None:
    steps.create(3)
    steps.client.lpop("q:t:jobs")
    assert repaired(queue) == ['None type "t": 3 waiting jobs, 2 tokens in q:t:jobs']
    assert steps.client.llen("q:t:jobs") == 3


def test_a_few_tokens_too_many_are_normal_and_thousands_are_not(steps: Steps, queue: Queue) -> None:
    steps.create()
    steps.client.lpush("q:t:jobs", *["1"] * 900)
    assert findings(queue) == []
    steps.client.lpush("q:t:jobs", *["1"] * 900)
    assert repaired(queue) == ['None type "t": 1 waiting jobs, 1801 tokens in q:t:jobs']


def test_an_id_counter_below_the_highest_id_is_raised(steps: Steps, queue: Queue) -> None:
    steps.create(3)
    steps.client.set("q:ids", 1)
    assert repaired(queue)[0].startswith("None q:ids is 1, below the highest id 3")
    assert queue.create("t").save().id == 4


def test_a_member_that_names_no_job_is_taken_out(steps: Steps, queue: Queue) -> None:
    steps.client.zadd("q:jobs:complete", {"nonsense": 0, "05|7": 0})
    assert sorted(repaired(queue)) == [
        'None q:jobs:complete contains "05|7", which is not a job id',
        'None q:jobs:complete contains "nonsense", which is not a job id',
    ]


def test_a_job_whose_key_is_not_a_hash_is_reported_and_left_alone(steps: Steps, queue: Queue) -> None:
    steps.client.set("q:job:5", "text")
    steps.client.zadd("q:jobs", {"01|5": 0})
    steps.client.set("q:ids", 5)
    (found,) = findings(queue, fix=True)
    assert found.job_id == 5 and "is a string, not a hash" in found.what and not found.fixed


def test_what_changes_between_the_two_looks_is_not_reported(steps: Steps, queue: Queue) -> None:
    # Given a job that a Node producer is writing
    steps.client.hset("q:job:1", mapping={"max_attempts": 1})
    steps.client.set("q:ids", 1)

    def finish() -> None:
        steps.client.hset("q:job:1", mapping={"type": "t", "data": "{}", "priority": 0, "state": "inactive"})
        steps.client.sadd("q:job:types", "t")
        for key in ("q:jobs", "q:jobs:inactive", "q:jobs:t:inactive"):
            steps.client.zadd(key, {"01|1": 0})
        steps.client.lpush("q:t:jobs", "1")

    examined = doctor.examine(queue, fix=True, settle_s=0.5)
    timer = threading.Timer(0.1, finish)
    timer.start()
    # Then the doctor, which saw it half written, leaves it alone
    assert list(examined) == []
    timer.join()
    assert steps.state("1") == "inactive"


def test_other_queues_on_the_same_redis_are_not_touched(redis_url: str, steps: Steps) -> None:
    others = [Queue(redis_url, prefix) for prefix in ("q*", "q2", "x[q]")]
    for other in others:
        steps.client.zadd(f"{other.prefix}:jobs:complete", {"01|5": 0})
        assert len(findings(other)) == 1
    assert findings(Queue(redis_url, "q")) == []
    for other in others:
        other.close()


def test_many_broken_jobs_are_all_found(steps: Steps, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SUSPECTS_MAX", 300)
    steps.create(1500)
    steps.client.delete("q:jobs")
    assert len(findings(queue, fix=True)) == 1500
    assert steps.client.zcard("q:jobs") == 1500
    assert findings(queue) == []




def test_the_keys_of_schedules_are_repaired(queue: Queue, redis_client: Any) -> None:
    for name in ("gone", "kind", "unlisted", "time", "paused", "unreadable", "fine"):
        queue.schedule(name, "t", every=3_600_000)
    queue.pause_schedule("paused")
    assert findings(queue) == []
    redis_client.delete("q:schedule:gone", "q:schedule:kind")
    redis_client.set("q:schedule:kind", "a text")
    redis_client.zrem("q:schedules", "unlisted")
    redis_client.zadd("q:schedules", {"time": 17})
    redis_client.hset("q:schedule:paused", "next_at", "99")
    redis_client.hset("q:schedule:unreadable", "definition", "{")
    redis_client.lpush("q:schedule:jobs", "1")  # the wake-up token of a type "schedule"
    found = [each.what for each in findings(queue)]
    assert [what.split('"')[1] for what in found] == ["gone", "kind", "paused", "time", "unlisted", "unreadable"]
    assert [each.fixed for each in findings(queue, fix=True)] == [True, False, True, True, True, False]
    left = [each.what.split('"')[1] for each in findings(queue)]
    assert left == ["kind", "unreadable"]
    for name in ("unlisted", "time"):
        assert redis_client.zscore("q:schedules", name) == queue.get_schedule(name).next_at
    assert queue.get_schedule("paused").next_at is None and queue.get_schedule("paused").paused
