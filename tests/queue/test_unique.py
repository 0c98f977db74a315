"""Unique jobs: what counts as the same job, until when, and what happens to a duplicate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

import kue
from kue.states import HOLD_UNTIL_MS
from tests.support import wait_until

Save = Callable[..., kue.Job]


@pytest.fixture
def queue(redis_url: str) -> Iterator[kue.Queue]:
    with kue.create_queue(redis_url) as made:
        yield made


def test_the_same_type_and_data_are_one_job(queue: kue.Queue) -> None:
    first = queue.create("mail", {"to": "ann", "n": 1.0}).unique().save()
    same = queue.create("mail", {"n": 1, "to": "ann"}).unique().save()
    assert not first.duplicate and same.duplicate and same.id == first.id and same.data == {"to": "ann", "n": 1}
    others = [
        queue.create("mail", {"to": "ann"}).unique().save(),
        queue.create("mail", {"to": "ann", "n": True}).unique().save(),
        queue.create("letter", {"to": "ann", "n": 1}).unique().save(),
        queue.create("mail", {"to": "ann", "n": 1}).save(),
    ]
    assert len({first.id, *(job.id for job in others)}) == 5


@pytest.mark.parametrize("key", ["account 7", 7, ["a", {"b": None}], "ä\ud800", "", False])
def test_a_key_of_any_kind_stands_for_the_data(queue: kue.Queue, key: Any) -> None:
    first = queue.create("mail", {"n": 1}).unique(key).save()
    second = queue.create("mail", {"n": 2}, unique={"key": key}).save()
    assert second.duplicate and second.id == first.id and second.data == {"n": 1}
    assert not queue.create("mail", {"n": 1}).unique().save().duplicate
    assert not queue.create("mail", {"n": 1}).unique(["another", key]).save().duplicate


def move(queue: kue.Queue, job: kue.Job, state: str) -> None:
    if state == "removed":
        job.remove()
    elif state == "delayed":
        queue.pause_job(job.id)
    else:
        queue.set_state(job.id, state)


@pytest.mark.parametrize(
    "until, lasting, over",
    [
        ("end", ["inactive", "delayed", "active"], ["complete", "failed", "removed"]),
        ("start", ["inactive", "delayed"], ["active", "complete", "failed", "removed"]),
        ("success", ["inactive", "delayed", "active", "failed"], ["complete", "removed"]),
    ],
)
def test_a_claim_lasts_as_long_as_it_says(queue: kue.Queue, until: str, lasting: list[str], over: list[str]) -> None:
    for state in [*lasting, *over]:
        first = queue.create("t").unique(f"{state}", until=until).save()
        move(queue, first, state)
        second = queue.create("t").unique(f"{state}", until=until).save()
        assert second.duplicate is (state in lasting), state
        assert (second.id == first.id) is (state in lasting)


def test_a_throttled_job_counts_after_it_has_ended(queue: kue.Queue, redis_client: redis.Redis) -> None:
    def save() -> kue.Job:
        return queue.create("t").unique("k", for_ms=60_000).save()

    first = save()
    queue.set_state(first.id, "complete")
    assert save().duplicate
    # When the time is over, Then the next one is new
    redis_client.hset(f"q:job:{first.id}", "unique_expires", 1)
    assert not save().duplicate


def test_a_throttled_job_counts_though_it_was_removed_as_it_completed_but_not_by_hand(queue: kue.Queue) -> None:
    first = queue.create("t").unique("k", for_ms=60_000).remove_on_complete().save()
    queue.process("t", lambda job: None)
    wait_until(lambda: not any(queue.counts().values()))
    again = queue.create("t").unique("k", for_ms=60_000).save()
    assert again.duplicate and again.id == first.id and again.state is None
    held = queue.create("idle").unique("k", for_ms=60_000).save()
    held.remove()
    assert not queue.create("idle").unique("k", for_ms=60_000).save().duplicate


def test_a_duplicate_can_be_rejected(queue: kue.Queue) -> None:
    first = queue.create("t").unique("k").save()
    second = queue.create("t").unique("k", on_duplicate="reject")
    with pytest.raises(kue.DuplicateJob, match=f"job {first.id} already exists") as caught:
        second.save()
    assert caught.value.job_id == first.id and second.id is None and sum(queue.counts().values()) == 1


def test_a_waiting_job_is_replaced_and_its_delay_begins_anew(queue: kue.Queue) -> None:
    def save(n: int, **options: Any) -> kue.Job:
        return queue.create("t", {"n": n}, **options).unique("k", on_duplicate="replace").save()

    first = save(1, delay=60_000, attempts=2)
    second = save(2, delay=120_000, priority="high", attempts=5, ttl=1000)
    assert second.duplicate and second.id == first.id and second.data == {"n": 2}
    job = queue.get(first.id)
    assert (job.state, job.data, job.options.priority, job.options.attempts) == ("delayed", {"n": 2}, -10, 5)
    assert job.options.ttl_ms == 1000 and (job.promote_at or 0) - (first.created_at or 0) >= 119_000
    # Without a delay it is due at once, and what waits already may be delayed again
    assert save(3).state == "inactive" and queue.counts()["inactive"] == 1
    assert save(4, delay=60_000).state == "delayed" and queue.counts()["inactive"] == 0
    # One that runs is left alone: another one waits beside it
    save(5)
    queue.set_state(first.id, "active")
    assert not save(6).duplicate and queue.get(first.id).data == {"n": 5}


def test_a_replaced_job_runs_once_with_the_last_data(queue: kue.Queue) -> None:
    seen: list[Any] = []
    for n in range(5):
        queue.create("t", {"n": n}).delay(300).unique("k", on_duplicate="replace").save()
    queue.process("t", lambda job: seen.append(job.data["n"]))
    wait_until(lambda: queue.counts()["complete"] == 1)
    assert seen == [4]


def test_extend_changes_the_delay_alone(queue: kue.Queue) -> None:
    first = queue.create("t", {"n": 1}).delay(1000).unique("k").save()
    second = queue.create("t", {"n": 2}).delay(60_000).unique("k", on_duplicate="extend").save()
    assert second.duplicate and second.data == {"n": 1} and second.state == "delayed"
    assert (second.promote_at or 0) - (first.created_at or 0) >= 59_000
    assert queue.create("t", {"n": 3}).unique("k", on_duplicate="extend").save().promote_at == second.promote_at


def test_a_job_that_is_paused_stays_so_when_it_is_replaced(queue: kue.Queue) -> None:
    first = queue.create("t", {"n": 1}).unique("k").save()
    queue.pause_job(first.id)
    second = queue.create("t", {"n": 2}).unique("k", on_duplicate="replace").save()
    assert second.id == first.id and second.promote_at == HOLD_UNTIL_MS and second.state == "delayed"
    queue.resume_job(first.id)
    assert queue.get(first.id).state == "inactive" and queue.get(first.id).data == {"n": 2}


def test_data_changed_by_hand_make_another_job_of_it(queue: kue.Queue) -> None:
    first = queue.create("t", {"n": 1}).unique().save()
    first.data = {"n": 2}
    first.save()
    assert not queue.create("t", {"n": 1}).unique().save().duplicate


def test_a_failed_job_that_is_retried_counts_again(queue: kue.Queue) -> None:
    first = queue.create("t").unique("k").save()
    queue.set_state(first.id, "failed")
    queue.retry(first.id)
    assert queue.create("t").unique("k").save().id == first.id


def test_many_processes_save_one_job_and_an_event_tells_of_duplicates(redis_url: str, queue: kue.Queue) -> None:
    heard: list[Any] = []
    queue.on("job duplicate", lambda job_id, *args: heard.append((job_id, *args)))
    queues = [kue.create_queue(redis_url) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda n: queues[n % 4].create("t", {"n": 1}).unique().save(), range(40)))
    assert len({job.id for job in jobs}) == 1 and sum(not job.duplicate for job in jobs) == 1
    wait_until(lambda: len(heard) == 39)
    assert set(heard) == {(jobs[0].id, "return")}
    for each in queues:
        each.close()


def test_unique_and_other_jobs_are_saved_together_in_order(queue: kue.Queue) -> None:
    jobs = queue.create_many(
        [{"type": "t", "data": {"n": n % 3}, "unique": True} if n % 2 else {"type": "t"} for n in range(12)]
    )
    new = [job.id for job in jobs if not job.duplicate]
    assert new == sorted(new) and len(new) == 6 + 3 and sum(queue.counts().values()) == 9


def test_a_repeated_call_is_no_duplicate(queue: kue.Queue) -> None:
    session = queue.session
    from kue.storage.hash_fields import saved_fields

    job = queue.create("t", {"n": 1}).unique()
    row = tuple(saved_fields("t", job.data, job.options).values())
    assert job.options.unique is not None
    claim = job.options.unique.claim(job.data)
    answers = [session.call(lambda client: session.scripts.create_unique(client, row, claim, "call")) for _ in "ab"]
    assert [(each.job_id, each.is_new) for each in answers] == [(1, True), (1, True)]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"until": "never"}, "until must be one of end, start, success, not 'never'"),
        ({"on_duplicate": "ignore"}, "on_duplicate must be one of return, reject, replace, extend, not 'ignore'"),
        ({"key": object()}, "not JSON"),
        ({"for_ms": -1}, "for_ms"),
    ],
)
def test_what_makes_no_sense_is_refused(queue: kue.Queue, options: dict[str, Any], message: str) -> None:
    with pytest.raises(kue.InvalidJob, match=message):
        queue.create("t").unique(**options)
    with pytest.raises(kue.InvalidJob, match=message):
        queue.create("t", unique=options)


def test_test_mode_finds_duplicates_too(queue: kue.Queue) -> None:
    queue.test_mode.enter()
    first = queue.create("t", {"n": 1}).unique("k").save()
    assert queue.create("t", {"n": 2}).unique("k").save().duplicate and queue.test_mode.jobs == [first]
    queue.create("t", {"n": 3}).unique("k", on_duplicate="replace").save()
    assert first.data == {"n": 3}
    with pytest.raises(kue.DuplicateJob):
        queue.create("t").unique("k", on_duplicate="reject").save()
    queue.test_mode.exit()
