"""Garbage in Redis only affects its own job: keys of the wrong type, fields with any value."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import kue
from kue import doctor
from tests.support import wait_until

#: Field values that are no number, or none that Redis takes.
ODD = ("", "abc", "nan", "-nan", "inf", "1e999", "0x10", "+5", " 7", "[]", "null", "\N{SNOWMAN}")


@pytest.fixture
def queue(redis_url: str) -> Iterator[kue.Queue]:
    queue = kue.create_queue(redis_url)
    yield queue
    queue.shutdown(5)


def works(queue: kue.Queue, job_type: str) -> None:
    job = queue.create(job_type).save()
    wait_until(lambda: job.refresh().state == "complete", 10, message=f"{job_type} is worked")


def both_slots_work(queue: kue.Queue) -> None:
    """Run two jobs of a type that end only together."""
    for job in queue.create_many([{"type": "a"}] * 2):
        assert job.wait(10) is True


@pytest.mark.parametrize("key", ["q:jobs:b:inactive", "q:jobs:b:active", "q:b:jobs"])
def test_a_broken_key_stops_its_own_type_alone(
    queue: kue.Queue, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    # Given two types, and a key of one that is of a wrong kind
    errors: list[BaseException] = []
    queue.on("error", errors.append)
    job = queue.create("b").save()
    kept = redis_client.dump(key)
    redis_client.set(key, "no set and no list")
    with caplog.at_level(logging.WARNING):
        for name in ("a", "b"):
            queue.process(name, 1, lambda job: None)
        # Then the other goes on, and the fault is told as what it is
        for _ in range(5):
            works(queue, "a")
        wait_until(lambda: errors)
    assert "WRONGTYPE" in str(errors[0]) and "type b" in caplog.text
    assert "away" not in caplog.text and len(errors) < 5
    if key != "q:b:jobs":  # without its tokens a type goes on, more slowly
        assert job.refresh().state == "inactive"
    # When it is put right, so does this one
    redis_client.delete(key)
    if kept:
        redis_client.restore(key, 0, kept)
    wait_until(lambda: job.refresh().state == "complete", 10)


def test_a_type_that_an_acl_denies_stops_alone(
    redis_url: str, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    keys = [f"q:jobs:{name}" for name in ("active", "inactive", "complete", "failed", "delayed", "a:*")]
    keys += [f"q:{name}" for name in ("job:*", "jobs", "a:*", "leases", "workers", "paused", "stats:*", "wake:*")]
    keys += ["q:orders:*", "q:history:*", "*:lock"]
    redis_client.acl_setuser("some", enabled=True, passwords=["+x"], keys=keys, channels=["q:*"], commands=["+@all"])
    engine, producer = kue.create_queue(redis_url.replace("redis://", "redis://some:x@")), kue.create_queue(redis_url)
    errors: list[BaseException] = []
    engine.on("error", errors.append)
    try:
        with caplog.at_level(logging.WARNING):
            for name in ("a", "b"):
                engine.process(name, 1, lambda job: None)
            producer.create("b").save()
            for _ in range(5):
                works(producer, "a")
        assert any("ermission" in str(error) for error in errors), errors
        assert "Redis is unreachable" not in caplog.text
    finally:
        engine.shutdown(5)
        producer.close()
        redis_client.acl_deluser("some")


def test_an_acknowledgement_waits_while_the_worker_is_let_say_nothing(
    redis_url: str, redis_client: redis.Redis
) -> None:
    # Given a running job of a worker whose password is changed
    def allow(password: str) -> None:
        redis_client.acl_setuser(
            "some", enabled=True, reset_passwords=True, passwords=[f"+{password}"], keys=["q:*", "*:lock"],
            channels=["q:*"], commands=["+@all"],
        )  # fmt: skip

    allow("x")
    engine, producer = kue.create_queue(redis_url.replace("redis://", "redis://some:x@")), kue.create_queue(redis_url)
    finish, errors = threading.Event(), []  # type: tuple[threading.Event, list[BaseException]]
    engine.on("error", errors.append)
    try:
        engine.process("a", 1, lambda job: finish.wait(30))
        jobs = [producer.create("a").save(), producer.create("a").save()]
        wait_until(lambda: jobs[0].refresh().state == "active", 10)
        allow("other")
        redis_client.execute_command("CLIENT", "KILL", "USER", "some")
        finish.set()
        wait_until(lambda: any(isinstance(error, redis.AuthenticationError) for error in errors), 10)
        # When it is let in again
        allow("x")
        # Then it says what it had to say, and works on
        for job in jobs:
            assert job.wait(15) is True
        assert jobs[0].refresh().attempts_made == 1 and jobs[0].rescues == 0
    finally:
        finish.set()
        engine.shutdown(5)
        producer.close()
        redis_client.acl_deluser("some")


def test_a_job_whose_key_is_not_a_hash_is_left_alone(queue: kue.Queue, redis_client: redis.Redis) -> None:
    broken = queue.create("a").save()
    redis_client.delete(f"q:job:{broken.id}")
    redis_client.set(f"q:job:{broken.id}", "no hash")
    queue.process("a", 1, lambda job: None)
    works(queue, "a")
    assert queue.inactive_count() == 0  # it does not wait
    assert redis_client.get(f"q:job:{broken.id}") == "no hash"


@pytest.mark.parametrize("field", ["priority", "ttl", "attempts", "max_attempts", "created_at", "delay", "promote_at",
                                   "backoff", "data", "attempt_log", "progress", "removeOnComplete"])  # fmt: skip
def test_a_field_that_holds_anything_harms_its_own_job_alone(
    queue: kue.Queue, redis_client: redis.Redis, field: str
) -> None:
    def handle(job: kue.Job) -> Any:
        job.progress(1, 2)
        if job.raw.get("fails"):
            raise ValueError("as told")
        return job.data

    odd = [*ODD, '[{"number":NaN}]', '[{"number":"x","started_at":1e400}]', '{"a":' * 50]
    jobs = [queue.create("a", {"n": n}).save() for n in range(2 * len(odd))]
    for n, job in enumerate(jobs):
        redis_client.hset(f"q:job:{job.id}", field, odd[n // 2])
        if n % 2:
            redis_client.hset(f"q:job:{job.id}", "fails", "1")
    queue.process("a", 3, handle)
    works(queue, "a")
    # Each of them comes to an end, or waits for a time that it names; none is stuck
    attempts: Any = queue._worker.engine.attempts  # type: ignore[union-attr]
    wait_until(lambda: queue.inactive_count() == 0 and not attempts.is_busy(None), 10)
    wait_until(lambda: redis_client.zcard("q:jobs:active") == 0, 5, message="none is stuck")
    states = {redis_client.hget(f"q:job:{job.id}", "state") for job in jobs}
    assert states <= {"complete", "failed", "delayed", None}  # None: removed on completion
    assert redis_client.zcard("q:jobs:a:active") == redis_client.zcard("q:leases") == 0


def test_a_job_of_another_type_than_its_set_goes_where_it_belongs(
    queue: kue.Queue, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a worker of one type, and a job that waits in its set with another type in its hash
    job = queue.create("a").save()
    redis_client.hset(f"q:job:{job.id}", "type", "b")
    queue.process("a", 1, lambda job: "a")
    works(queue, "a")
    assert job.refresh().state == "inactive" and queue.inactive_count("a") == 0 and queue.inactive_count("b") == 1
    # When there is one of the other type
    queue.process("b", 1, lambda job: "b")
    assert job.wait(10) == "b"
    assert redis_client.zcard("q:jobs:a:active") == redis_client.zcard("q:jobs:b:active") == 0


def test_a_job_whose_type_changes_while_it_runs_frees_its_slot(queue: kue.Queue, redis_client: redis.Redis) -> None:
    def handle(job: kue.Job) -> None:
        job.type = "other"

    queue.process("a", 1, handle)
    for _ in range(3):
        works(queue, "a")


def test_what_cannot_be_made_a_job_fails_alone(queue: kue.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a hash of which no job can be made
    together = threading.Barrier(2)
    queue.process("a", 2, lambda job: together.wait(10) >= 0)
    attempts: Any = queue._worker.engine.attempts  # type: ignore[union-attr]
    make_job = attempts._make_job

    def fail(job_id: Any, raw: Any) -> Any:
        if job_id == 1:
            raise RecursionError("too deep")
        return make_job(job_id, raw)

    monkeypatch.setattr(attempts, "_make_job", fail)
    job = queue.create("a").save()
    # Then it fails, and its slot is free
    wait_until(lambda: job.refresh().state == "failed", 10)
    assert "too deep" in str(job.error)
    both_slots_work(queue)


@pytest.mark.parametrize("name", ["fetch", "block_and_fetch"])
def test_a_loop_that_meets_an_unforeseen_error_continues(
    queue: kue.Queue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    # Given a fault of ours in a call to Redis
    together = threading.Barrier(2)
    queue.process("a", 2, lambda job: together.wait(10) >= 0)
    fetcher: Any = queue._worker.engine._fetcher  # type: ignore[union-attr]
    right, left = getattr(fetcher, name), [1]

    def fail_once(*args: object) -> Any:
        answer = right(*args) if name == "block_and_fetch" else None
        if left:
            left.pop()
            raise KeyError("unforeseen")
        return answer if name == "block_and_fetch" else right(*args)

    monkeypatch.setattr(fetcher, name, fail_once)
    queue.process("b", 1, lambda job: None)
    wait_until(lambda: not left)
    # Then it is logged, and no slot is lost
    both_slots_work(queue)
    assert "unforeseen" in caplog.text


def test_a_job_for_which_no_thread_can_be_started_waits_again(
    queue: kue.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.process("a", 1, lambda job: None)
    works(queue, "a")
    from kue.worker.executors import threads

    spawn, left = threads.green.spawn, [1]

    def fail_once(fn: Any, *args: object) -> Any:
        if getattr(fn, "__name__", "") == "_run" and left:
            left.pop()
            raise RuntimeError("can't start new thread")
        return spawn(fn, *args)

    monkeypatch.setattr(threads.green, "spawn", fail_once)
    job = queue.create("a").save()
    assert job.wait(10) is None and not left
    assert job.refresh().attempts_made == 1


@pytest.mark.parametrize("part", ["state", "turns", "buckets", "holders", "full", "aside", "jobs"])
def test_a_broken_key_of_a_limit_stops_its_type_alone_and_is_named(
    queue: kue.Queue, redis_client: redis.Redis, part: str
) -> None:
    # Given a job of a limited type that runs, one that waits, and a key of the limit that is of another kind
    errors: list[BaseException] = []
    queue.on("error", errors.append)
    queue.limit("b", by="data.k", concurrency=1)
    go_on = threading.Event()
    queue.process("b", 2, lambda job: go_on.wait(10))
    first, second = queue.create_many([{"type": "b", "data": {"k": "x"}}] * 2)
    wait_until(lambda: first.refresh().state == "active", 10)
    key = queue.keys.limit_line("b", "x") if part == "jobs" else queue.keys.limit(part, "b")
    redis_client.delete(key)
    redis_client.set(key, "something else")
    # When the first ends, Then it is acknowledged, and another type goes on
    go_on.set()
    assert first.wait(10) is True
    queue.process("a", 1, lambda job: None)
    works(queue, "a")
    # And the key is named: by the worker's error, and by the doctor
    if part != "jobs":  # that stops no more than its own key
        wait_until(lambda: any(f"{key} is a string" in str(error) for error in errors), 10)
    assert any(key in finding.what for finding in doctor.examine(queue, settle_s=0, tokens_settle_s=0))
    assert queue.limits()[0]["type"] == "b"
    queue.cancel(second.id or 0)
    # When it is deleted, a new job runs
    redis_client.delete(key)
    assert queue.create("b", {"k": "x"}).save().wait(10) is True
