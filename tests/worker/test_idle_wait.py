"""An idle worker: which jobs it gets first, and which it no longer takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import kue
from kue import doctor
from kue.storage.script_loader import sha
from tests.support import wait_until

#: Seconds that separate a wake-up that was lost (the wait ends by itself after one second) from a busy machine.
LOST_S = 0.6


@pytest.fixture
def queue(redis_url: str) -> Iterator[kue.Queue]:
    queue = kue.create_queue(redis_url)
    yield queue
    queue.shutdown(5)


def is_waiting(queue: kue.Queue) -> bool:
    """Tell whether the worker waits for tokens of all its types."""
    engine: Any = queue._worker.engine
    return engine is not None and engine._fetch_loops.blocking_fetcher.blocking == set(engine.types())


@pytest.mark.serial
def test_the_wait_brings_the_job_with_it(queue: kue.Queue, redis_client: redis.Redis) -> None:
    # Given an idle worker that blocks on one of its connections
    queue.process("t", 3, lambda job: "done")
    wait_until(lambda: is_waiting(queue))

    def blocked() -> list[str]:
        return [client["addr"] for client in redis_client.client_list() if "b" in client["flags"]]

    wait_until(lambda: len(blocked()) == 1)
    (waiter,) = blocked()
    scripts = {sha(name) for name in ("create", "reserve", "finish_and_reserve")}
    # When a job is saved
    with redis_client.monitor() as monitor:
        job = queue.create("t").save()
        assert job.wait(10) == "done"
        redis_client.echo("end")
        calls: list[str] = []
        for command in monitor.listen():
            name, _, rest = command["command"].partition(" ")
            if name.upper() == "ECHO":
                break
            is_ours = rest.partition(" ")[0].strip('"') in scripts  # and not of the maintenance
            if is_ours and command["client_type"] != "lua":
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


@pytest.mark.parametrize(("types", "slots"), [("ab", 1), ("ab", 4), ("abcdefgh", 2)])
def test_no_job_of_several_types_waits_for_long(queue: kue.Queue, types: str, slots: int) -> None:
    begun: list[float] = []
    began = threading.Event()

    def handle(job: kue.Job) -> None:
        begun.append(time.monotonic())
        began.set()

    for name in types:
        queue.process(name, slots, handle)
    wait_until(lambda: is_waiting(queue))
    waits_s = []
    for at in range(500):
        began.clear()
        queue.create(types[at * 7 % 11 % len(types)]).save()
        saved_at = time.monotonic()
        assert began.wait(10)
        waits_s.append(begun[-1] - saved_at)
    assert max(waits_s) < LOST_S, sorted(waits_s)[-5:]


def starts_soon(queue: kue.Queue, job_type: str) -> None:
    """Save a job, and fail unless it begins before the wait for tokens would end by itself."""
    job = queue.create(job_type).save()
    wait_until(lambda: job.refresh().state != "inactive", LOST_S, 0.002, f"{job_type} begins")


def test_a_slot_that_is_free_without_an_outcome_is_waited_for(queue: kue.Queue) -> None:
    # Given a worker whose only job of a type runs, and that waits for another type
    leave = threading.Event()
    queue.process("a", 1, lambda job: leave.wait(30))
    queue.process("b", 1, lambda job: None)
    wait_until(lambda: is_waiting(queue))
    for end in (queue.cancel, queue.remove, queue.pause_job):
        running = queue.create("a").save()
        wait_until(lambda job=running: job.refresh().state == "active")  # type: ignore[misc]
        engine: Any = queue._worker.engine
        wait_until(lambda engine=engine: engine._fetch_loops.blocking_fetcher.blocking == {"b"})  # type: ignore[misc]
        # When the job is taken away from it
        end(running.id or 0)
        wait_until(lambda: queue.running() == [])
        # Then the next starts at once
        starts_soon(queue, "a")
        wait_until(lambda: queue.running() != [])
        queue.cancel(queue.running()[0])
        wait_until(lambda: queue.running() == [])
    leave.set()


def test_what_changes_while_it_waits_is_noticed(queue: kue.Queue) -> None:
    queue.process("a", 1, lambda job: None)
    wait_until(lambda: is_waiting(queue))
    engine: Any = queue._worker.engine
    # A type that is added
    queue.process("b", 1, lambda job: None)
    starts_soon(queue, "b")
    # One that is paused and resumed in the process
    engine.pause("b")
    job = queue.create("b").save()
    wait_until(lambda: engine._fetch_loops.blocking_fetcher.blocking == {"a"})
    engine.resume("b")
    wait_until(lambda: job.refresh().state == "complete", LOST_S, 0.002)
    # And more slots
    queue.concurrency("a", 3)
    starts_soon(queue, "a")


def test_the_end_of_a_pause_everywhere_is_noticed(queue: kue.Queue, redis_url: str) -> None:
    for name in ("a", "b"):
        queue.process(name, 1, lambda job: None)
    operator = kue.create_queue(redis_url)
    engine: Any = queue._worker.engine
    for _ in range(3):
        wait_until(lambda: is_waiting(queue))
        operator.pause("a")
        job = operator.create("a").save()
        wait_until(lambda: engine._types["a"].paused_until > time.monotonic())
        assert job.refresh().state == "inactive"
        operator.resume("a")
        wait_until(lambda job=job: job.refresh().state == "complete", LOST_S, 0.002)  # type: ignore[misc]
    operator.close()


def test_it_needs_no_command_of_connections(redis_url: str, redis_client: redis.Redis) -> None:
    # Given a user who may neither unblock a connection nor know the number of one
    redis_client.acl_setuser(
        "plain", enabled=True, passwords=["+x"], keys=["q:*", "*:lock"], channels=["q:*"],
        commands=["+@all", "-client"],
    )  # fmt: skip
    queue = kue.create_queue(redis_url.replace("redis://", "redis://plain:x@"))
    try:
        for name in ("a", "b"):
            queue.process(name, 1, lambda job: None)
        wait_until(lambda: is_waiting(queue))
        for at in range(200):
            starts_soon(queue, "ab"[at * 7 % 11 % 2])
    finally:
        queue.shutdown(5)
        redis_client.acl_deluser("plain")


def test_its_list_is_gone_with_it(redis_url: str, redis_client: redis.Redis) -> None:
    queue = kue.create_queue(redis_url)
    for name in ("a", "b"):
        queue.process(name, 1, lambda job: None)
    for _ in range(20):
        starts_soon(queue, "a")
    queue.shutdown(5)
    assert redis_client.keys("q:wake:*") == []


def test_its_list_is_nothing_wrong_and_no_type(queue: kue.Queue, redis_client: redis.Redis) -> None:
    redis_client.lpush("q:wake:kue:host:1:abcd", "1")
    queue.create("a").save()
    assert list(doctor.examine(queue, settle_s=0.02, tokens_settle_s=0.1)) == []
    assert queue.types() == ["a"]


def test_an_idle_worker_that_was_told_to_be_quiet_takes_nothing(queue: kue.Queue) -> None:
    queue.process("t", 2, lambda job: "done")
    for _ in range(5):
        wait_until(lambda: is_waiting(queue))
        queue.quiet()
        job = queue.create("t").save()
        assert not queue._worker.engine or queue._worker.engine.drain(5)
        assert job.refresh().state == "inactive" and job.attempts_made == 0
        queue._worker.engine.resume("t") if queue._worker.engine else None
        assert job.wait(10) == "done"


def test_an_idle_worker_stops_at_once(redis_url: str) -> None:
    queue = kue.create_queue(redis_url)
    queue.process("t", 2, lambda job: "done")
    wait_until(lambda: is_waiting(queue))
    queue.shutdown(0.5)  # no second of patience is needed
    job = kue.create_queue(redis_url).create("t").save()
    assert job.refresh().state == "inactive"
