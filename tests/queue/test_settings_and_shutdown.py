"""Smaller things that Kue's users know: settings, and the shutdown of one type."""

from __future__ import annotations

import threading

import pytest
import redis

import kue
from tests.support import wait_until


def test_a_setting_is_read_and_a_missing_one_is_none(queue: kue.Queue, redis_client: redis.Redis) -> None:
    redis_client.hset("q:settings", "greeting", "xin chào")
    assert queue.setting("greeting") == "xin chào"
    assert queue.setting("other") is None


def test_the_shutdown_of_a_type_leaves_the_others_at_work(queue: kue.Queue) -> None:
    # Given two types at work, one job of the first running
    begun, go_on = threading.Event(), threading.Event()

    def first(job: kue.Job) -> str:
        begun.set()
        go_on.wait(30)
        return "done"

    queue.process("first", first)
    queue.process("second", lambda job: "done")
    running, waiting = queue.create("first").save(), queue.create("first").save()
    assert begun.wait(10)
    # When the first is shut down, and its job ends meanwhile
    threading.Timer(0.1, go_on.set).start()
    queue.shutdown(10, "first")
    # Then its job has ended when the call returns, the next waits, and the other type works on
    assert queue.get(running.id or 0).state == "complete"
    assert queue.get(waiting.id or 0).state == "inactive"
    assert queue.create("second").save().wait(10) == "done"
    assert queue.get(waiting.id or 0).state == "inactive"


def test_an_acknowledgement_that_redis_refuses_is_told_as_an_error(queue: kue.Queue, redis_client: redis.Redis) -> None:
    # Given a handler during which somebody puts something else in the place of a key
    errors: list[BaseException] = []
    queue.on("error", errors.append)

    def spoil(job: kue.Job) -> None:
        redis_client.set("q:jobs:complete", "no sorted set")

    queue.process("t", spoil)
    # When its job is acknowledged
    queue.create("t").save()
    # Then the program hears of it, and the next job is worked
    wait_until(lambda: errors, 15)
    assert isinstance(errors[0], redis.ResponseError)
    redis_client.delete("q:jobs:complete")
    other = threading.Event()
    queue.process("u", lambda job: other.set())
    queue.create("u").save()
    assert other.wait(15)


@pytest.mark.parametrize("name", ["job finished", "complete", ""])
def test_an_unknown_event_is_refused(queue: kue.Queue, name: str) -> None:
    with pytest.raises(kue.InvalidJob, match="a queue has no event"):
        queue.on(name, print)
