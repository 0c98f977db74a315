"""An idle worker: what comes first to it, and what it does not take any more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import kue
from tests.support import wait_until


@pytest.fixture
def queue(redis_url: str) -> Iterator[kue.Queue]:
    queue = kue.create_queue(redis_url)
    yield queue
    queue.shutdown(5)


def is_waiting(queue: kue.Queue) -> bool:
    """Tell whether the worker waits for tokens of all its types."""
    engine: Any = queue._engine
    return engine is not None and engine._waiter.blocking == set(engine.types())


def test_the_wait_brings_the_job_with_it(queue: kue.Queue, redis_client: redis.Redis) -> None:
    # Given an idle worker that blocks on one of its connections
    queue.process("t", 3, lambda job: "done")
    wait_until(lambda: is_waiting(queue))

    def blocked() -> list[str]:
        return [client["addr"] for client in redis_client.client_list() if "b" in client["flags"]]

    wait_until(lambda: len(blocked()) == 1)
    (waiter,) = blocked()
    # When a job is saved
    with redis_client.monitor() as monitor:
        job = queue.create("t").save()
        assert job.wait(10) == "done"
        redis_client.echo("end")
        calls: list[str] = []
        for command in monitor.listen():
            name = command["command"].partition(" ")[0].upper()
            if name == "ECHO":
                break
            if name.startswith("EVAL") and command["client_type"] != "lua":
                calls.append(f"{command['client_address']}:{command['client_port']}")
    # Then the first call after the producer's comes from that connection: it was there already
    assert next(call for call in calls if call != calls[0]) == waiter


def test_a_server_that_has_forgotten_the_scripts_is_given_them(queue: kue.Queue, redis_client: redis.Redis) -> None:
    queue.process("t", 1, lambda job: "done")
    wait_until(lambda: is_waiting(queue))
    redis_client.script_flush()
    assert queue.create("t").save().wait(10) == "done"


def test_many_at_once_fill_all_slots_of_an_idle_worker(queue: kue.Queue) -> None:
    together = threading.Barrier(5)
    queue.process("t", 5, lambda job: together.wait(10) >= 0)
    wait_until(lambda: is_waiting(queue))
    for job in queue.create_many([{"type": "t"}] * 5):
        assert job.wait(15) is True


def test_one_slot_and_two_types_are_enough(queue: kue.Queue) -> None:
    for name in ("a", "b"):
        queue.process(name, 1, lambda job: job.type)
    wait_until(lambda: is_waiting(queue))
    for name in "abbaab":
        assert queue.create(name).save().wait(10) == name


def test_an_idle_worker_that_was_told_to_be_quiet_takes_nothing(queue: kue.Queue) -> None:
    queue.process("t", 2, lambda job: "done")
    for _ in range(5):
        wait_until(lambda: is_waiting(queue))
        queue.quiet()
        job = queue.create("t").save()
        assert not queue._engine or queue._engine.drain(5)
        assert job.refresh().state == "inactive" and job.attempts_made == 0
        queue._engine.resume("t") if queue._engine else None
        assert job.wait(10) == "done"


def test_an_idle_worker_stops_at_once(redis_url: str) -> None:
    queue = kue.create_queue(redis_url)
    queue.process("t", 2, lambda job: "done")
    wait_until(lambda: is_waiting(queue))
    queue.shutdown(0.5)  # no second of patience is needed
    job = kue.create_queue(redis_url).create("t").save()
    assert job.refresh().state == "inactive"
