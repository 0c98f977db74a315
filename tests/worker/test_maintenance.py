"""Garbage in keys, messages or errors does not stop maintenance."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

import kue
from tests.support import wait_until
from tests.support.script_steps import NOW, Steps

LIMIT_S = 15


@pytest.mark.slow
def test_the_maintenance_does_the_rest_when_one_of_its_tasks_always_fails(
    queue: Any, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "kue.maintenance"]

    # Given a key of the wrong kind, which the maintenance reads first of all
    queue.process("t", lambda job: "ran")
    wait_until(lambda: redis_client.exists(queue.keys.workers))
    redis_client.set(queue.keys.workers, "not a hash")
    wait_until(lambda: said(), LIMIT_S)
    # Then delayed jobs are promoted all the same, and the log tells once
    for _ in range(3):
        assert queue.create("t", delay=500).save().wait(LIMIT_S) == "ran"
    assert said() == ["Maintenance task reclaim failed; retrying every second"]


@pytest.mark.parametrize("garbage", ["no JSON", "7", '["x", {"number": "y"}]', "{}"])
def test_an_attempt_log_that_is_none_does_not_keep_a_job_from_its_rescue(
    redis_client: redis.Redis, garbage: str
) -> None:
    steps = Steps(redis_client)
    job_id = steps.create(attempts="5")
    for death in range(1, 5):
        token = steps.reserve(nonce=f"n{death}")[0].token
        if death == 4:
            steps.scripts.isolate(steps.client, job_id, token, "", alone=True, now_ms=NOW)
        if death in (1, 4):
            redis_client.hset(steps.keys.job(job_id), "attempt_log", garbage)
        assert steps.scripts.rescue(steps.client, now_ms=NOW + 1000) == [job_id]
    assert steps.state(job_id) == "failed"


DEEP = "[" * 5000
GARBAGE = ["", "nonsense", "1 2", "null", "[1]", '{"id":{}}', '{"id":1,"event":[],"args":7}', '{"id":"1","event":"x"',
           DEEP, '{"id":99,"event":"failed","args":' + DEEP]  # fmt: skip


def test_messages_that_make_no_sense_leave_nobody_deaf(queue: Any, redis_client: redis.Redis) -> None:
    # Given a worker and a listener that hear all sorts of things
    began, heard = threading.Event(), []

    @queue.process("t")
    def work(job: Any) -> None:
        began.set()
        while True:
            time.sleep(0.01)
            job.log("tick")

    queue.on("job failed", lambda *args: heard.append(args))
    job = queue.create("t").save()
    assert began.wait(LIMIT_S)
    for text in GARBAGE:
        redis_client.publish(queue.keys.events, text)
        redis_client.publish(queue.keys.revoked, text)

    # When the job is cancelled
    job.cancel()

    # Then both hear it
    wait_until(lambda: (job.id, "Cancelled", None) in heard, LIMIT_S)
    wait_until(lambda: queue.running() == [], LIMIT_S)


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("backoff", [DEEP, "{", "7"])
def test_an_error_without_words_and_a_backoff_without_sense_are_an_ordinary_failure(
    queue: Any, redis_client: redis.Redis, backoff: str
) -> None:
    job = queue.create("t", attempts=2, delay=60_000).save()
    redis_client.hset(queue.keys.job(job.id), mapping={"backoff": backoff, "delay": "1"})
    queue.promote(job.id)

    @queue.process("t")
    def work(job: Any) -> None:
        raise Mute

    with pytest.raises(kue.JobFailed, match="Mute"):
        job.wait(LIMIT_S)
    assert job.refresh().attempts_made == 2 and queue.running() == []
