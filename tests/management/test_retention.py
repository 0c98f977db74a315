"""Retention: how many ended jobs stay, which ones go, and that nothing of a job that went is left."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kue.errors import InvalidJob
from kue.management.retention import Rule, clean
from kue.storage.script_values import Outcome, Reservation
from tests.support import wait_until
from tests.support.script_steps import NOW, Steps


def ended(steps: Steps, count: int = 1, *, state: str = "complete", at: int = NOW, **options: Any) -> list[str]:
    """Create jobs and put them into an ended state at a time; return their ids."""
    first = int(steps.create(count, **options))
    ids = [str(first + n) for n in range(count)]
    for job_id in ids:
        steps.scripts.move(steps.client, job_id, state, now_ms=at)
    steps.client.delete(steps.keys.tokens(options.get("kind", "t")))  # a worker would have taken them
    return ids


def retain(steps: Steps, state: str = "complete", keep: int | None = None, max_age_ms: int | None = None, *,
           now: int = NOW + 10_000, limit: int = 500, rank: int = 0) -> tuple[int, bool, int]:  # fmt: skip
    return steps.scripts.retain(
        steps.client, state, keep, max_age_ms, limit=limit, rank=rank, grace_ms=1000, now_ms=now
    )


def left(steps: Steps, state: str = "complete") -> list[str]:
    return sorted((each.partition("|")[2] for each in steps.client.zrange(steps.keys.state(state), 0, -1)), key=int)


def test_the_jobs_that_ended_first_go_until_the_count_is_right(steps: Steps) -> None:
    ids = ended(steps, 12)
    assert retain(steps, keep=5)[:2] == (7, False)
    assert left(steps) == ids[7:]
    assert retain(steps, keep=5)[0] == 0


@pytest.mark.parametrize("state", ["complete", "failed"])
def test_a_state_has_its_own_count_over_all_types(steps: Steps, state: str) -> None:
    ids = ended(steps, 3, state=state) + ended(steps, 3, state=state, kind="other")
    other = "failed" if state == "complete" else "complete"
    kept = ended(steps, 2, state=other)
    retain(steps, state, keep=1)
    assert left(steps, state) == ids[-1:]
    assert left(steps, other) == kept


def test_among_several_priorities_the_oldest_of_all_go_first(steps: Steps) -> None:
    ids = [ended(steps, priority=priority)[0] for priority in (10, -10, 0, -15, 10, -10, 0)]
    assert retain(steps, keep=3)[0] == 4
    assert left(steps) == ids[4:]


def test_a_job_with_a_low_id_that_ended_last_stays(steps: Steps) -> None:
    # Given a job that was created first and, being delayed, completed last
    late = steps.create(delay="60000")
    ids = ended(steps, 20, at=NOW + 1)
    steps.scripts.move(steps.client, late, "complete", now_ms=NOW + 5000)
    # When all but three must go
    retain(steps, keep=3)
    # Then it is one of them
    assert left(steps) == [late, *ids[-2:]]


def test_one_call_removes_a_batch_and_says_that_there_is_more(steps: Steps) -> None:
    ended(steps, 25)
    assert retain(steps, keep=5, limit=10)[:2] == (10, True)
    assert retain(steps, keep=5, limit=10)[0] == 10
    assert retain(steps, keep=5, limit=10)[0] == 0


def test_jobs_go_when_they_are_too_old(steps: Steps) -> None:
    old = ended(steps, 3, at=NOW)
    young = ended(steps, 3, at=NOW + 8000)
    assert retain(steps, max_age_ms=9000)[0] == 3
    assert left(steps) == young and old[0] not in young


def test_an_old_job_behind_many_young_ones_of_lower_id_is_found_by_the_sweep(steps: Steps) -> None:
    # Given more young jobs at the head than one call looks at, and an old one behind them
    young = ended(steps, 450, at=NOW + 9000)
    old = ended(steps, at=NOW)
    rank, removed = 0, 0
    # When retention runs a few times
    for _ in range(6):
        took, _, rank = retain(steps, max_age_ms=9500, rank=rank)
        removed += took
    # Then the old one is gone
    assert removed == 1
    assert left(steps) == young and old[0] not in young


def test_a_job_stays_for_a_second_after_its_end(steps: Steps) -> None:
    ended(steps, 4)
    assert retain(steps, keep=0, max_age_ms=0, now=NOW + 999)[0] == 0
    assert retain(steps, keep=0, now=NOW + 1000)[0] == 4


def test_a_failed_job_with_attempts_left_stays_for_a_minute(steps: Steps) -> None:
    # Given a job that a Node worker is about to retry, which passes through the failed sets
    (job_id,) = ended(steps, state="failed", attempts="3")
    assert retain(steps, "failed", keep=0, now=NOW + 59_000)[:2] == (0, False)
    assert retain(steps, "failed", max_age_ms=1, now=NOW + 59_000)[0] == 0
    assert left(steps, "failed") == [job_id]
    assert retain(steps, "failed", keep=0, now=NOW + 61_000)[0] == 1


def test_nothing_of_a_removed_job_is_left_and_its_removal_is_told(steps: Steps) -> None:
    job_id, token = steps.held()
    steps.scripts.log(steps.client, job_id, token, "line")
    steps.acknowledge("complete", job_id, token, "1", "1")
    steps.client.zadd("q:search:object:1", {"WLKM": 1})
    steps.client.zadd("q:search:word:WLKM", {"1": 1})
    subscription = steps.listen()
    assert retain(steps, keep=0)[0] == 1
    assert steps.heard(subscription) == ["remove"]
    assert sorted(steps.client.keys("q:*")) == ["q:ids", "q:job:types", "q:stats:work-time"]


def test_jobs_of_node_and_its_garbage_are_covered(steps: Steps) -> None:
    # Given a job without any of our fields, the hash that Node writes for one removed while it ran, and no hash at all
    steps.client.hset("q:job:1", mapping={"type": "t", "state": "complete", "updated_at": NOW, "created_at": NOW})
    steps.client.hset("q:job:2", mapping={"state": "complete", "updated_at": NOW, "attempts": 1})
    steps.client.sadd("q:job:types", "t")
    for zid in ("01|1", "01|2", "01|3"):
        steps.client.zadd("q:jobs:complete", {zid: 0})
        steps.client.zadd("q:jobs:t:complete", {zid: 0})
    retain(steps, keep=0)
    assert sorted(steps.client.keys("q:*")) == ["q:job:types"]


def test_a_job_that_is_in_the_set_by_mistake_loses_its_place_and_nothing_else(steps: Steps) -> None:
    job_id = steps.create()
    steps.client.zadd("q:jobs:complete", {f"01|{job_id}": 0})
    retain(steps, keep=0)
    assert steps.state(job_id) == "inactive"


def test_more_priorities_than_are_told_apart_still_come_down_to_the_count(steps: Steps) -> None:
    for priority in range(50):
        ended(steps, priority=priority)
    while retain(steps, keep=10)[1]:
        pass
    assert len(left(steps)) == 10


@pytest.mark.slow
def test_the_queue_removes_more_than_one_batch_while_it_works(queue: Any, redis_client: Any) -> None:
    # Given a queue that may keep 100 jobs, whose worker finishes 3,000 and fails some
    queue.retain(complete=100, failed=5)

    def work(job: Any) -> None:
        if job.data["n"] % 100 == 0:
            raise ValueError("no")

    queue.process("t", 50, work)
    queue.create_many({"type": "t", "data": {"n": n}} for n in range(3000))
    # Then the counts come down to what may stay, and no key of the others is left
    wait_until(lambda: queue.counts() == {"inactive": 0, "active": 0, "complete": 100, "failed": 5, "delayed": 0}, 20)
    assert len(redis_client.keys("q:job:*")) == 100 + 5 + 5 + 1  # the jobs, the logs of the failed, the types
    assert redis_client.zcard("q:jobs") == 105


@pytest.mark.slow
def test_many_cycles_leave_a_flat_number_of_keys(steps: Steps) -> None:
    # Given 20,000 jobs, created and completed in lots
    sizes = []
    for lot in range(20):
        at = NOW + lot * 2000
        steps.create(1000, now=at)
        jobs = steps.reserve(1000, nonce=f"n{lot}", now=at)
        outcomes = [Outcome("complete", job.job_id, job.token, ("1", "1")) for job in jobs]
        steps.scripts.finish_and_reserve(steps.client, outcomes, Reservation({}, 1, "", "w"), now_ms=at)
        while retain(steps, keep=100, now=at + 1500)[1]:
            pass
        sizes.append(steps.client.dbsize())
    # Then the keys are as many after the first lot as after the last
    assert len(set(sizes)) == 1
    assert left(steps)[0] == "19901"


def test_clean_removes_at_once(steps: Steps) -> None:
    ended(steps, 1200)
    assert clean(steps.scripts, steps.client, "complete", Rule(keep=50)) == 1150
    assert clean(steps.scripts, steps.client, "complete", Rule(max_age_ms=1)) == 50
    assert clean(steps.scripts, steps.client, "complete", Rule()) == 0


@pytest.mark.parametrize("bad", [{"complete": -1}, {"failed": True}, {"max_age": 1.5}, {"complete": "9"}])
def test_what_is_no_number_of_jobs_is_refused(queue: Any, bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        queue.retain(**bad)


def test_clean_takes_ended_states_only(queue: Any) -> None:
    with pytest.raises(InvalidJob):
        queue.clean("active", keep=0)


def test_an_age_may_be_a_timedelta(queue: Any) -> None:
    queue.retain(complete=10, max_age=timedelta(days=1))
    assert {state: (each.keep, each.max_age_ms) for state, each in queue.retention().items()} == {
        "complete": (10, 86_400_000),
        "failed": (None, 86_400_000),
    }
