"""Saving while Redis is unreachable fails in bounded time, and a save with a lost reply creates one job, not two."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import kue
from kue.client.producer import Producer
from kue.connection.connector import Connector
from kue.storage.keys import Keys
from kue.storage.scripts import CREATE_MAX, Scripts
from tests.support.servers.faulty_server import FaultyServer
from tests.support.servers.proxy import Proxy

#: Longest that a save may take, s: a connection and an answer that do not come, after a first failure.
BOUND_S = 14


@pytest.fixture
def queue(proxy: Proxy) -> Iterator[kue.Queue]:
    queue = kue.create_queue(proxy.url)
    yield queue
    queue.close()


def count(server: FaultyServer) -> int:
    with server.client() as client:
        return int(client.zcard("q:jobs"))


def names_create(data: bytes) -> bool:
    return b"a-job-of-this-test" in data


def test_saves_of_many_threads_fail_in_bounded_time_while_the_server_is_gone(
    server: FaultyServer, queue: kue.Queue
) -> None:
    queue.create("t", {}).save()
    server.kill()
    jobs = [queue.create("t", {"n": n}) for n in range(40)]
    ends: list[Any] = []

    def save(job: kue.Job) -> None:
        try:
            ends.append(job.save())
        except kue.QueueUnavailable as exc:
            ends.append(exc)

    began = time.monotonic()
    threads = [threading.Thread(target=save, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND_S)

    assert [type(end) for end in ends] == [kue.QueueUnavailable] * len(jobs)
    assert time.monotonic() - began < BOUND_S
    assert queue._store.producer._waiting == []  # nothing piles up
    # And each can be saved again
    server.start()
    for job in jobs:
        job.save()
    assert count(server) == len(jobs) + 1 == len({job.id for job in jobs}) + 1


def test_a_save_at_a_frozen_server_is_not_doubled_when_it_is_repeated(server: FaultyServer, queue: kue.Queue) -> None:
    queue.create("t", {}).save()
    server.freeze()
    job = queue.create("t", {})
    began = time.monotonic()
    with pytest.raises(kue.QueueUnavailable, match="saving the same object again is safe"):
        job.save()
    assert time.monotonic() - began < BOUND_S and job.id is None
    server.thaw()  # it comes to the first call now, or after the second

    other = queue.create("t", {}).save()
    job.save()

    assert count(server) == 3
    assert {job.id, other.id} == {2, 3}


def test_a_save_whose_answer_was_lost_makes_one_job(server: FaultyServer, proxy: Proxy, queue: kue.Queue) -> None:
    queue.create("t", {}).save()
    proxy.swallow(names_create)
    job = queue.create("t", {"text": "a-job-of-this-test"}).save()
    assert proxy.swallowed.is_set()
    assert (job.id, count(server)) == (2, 2)


def test_a_save_whose_answer_was_lost_before_redis_went_away_makes_one_job_when_it_is_repeated(
    server: FaultyServer, proxy: Proxy, queue: kue.Queue
) -> None:
    queue.create("t", {}).save()

    def then_block(data: bytes) -> bool:
        return names_create(data) and (proxy.refuse() or True)

    proxy.swallow(then_block)
    jobs = [queue.create("t", {"text": "a-job-of-this-test"}) for _ in range(3)]
    with pytest.raises(kue.QueueUnavailable):
        queue.create_many(jobs)
    assert proxy.swallowed.is_set() and count(server) == 4 and jobs[0].id is None
    proxy.accept_again()

    queue.create("t", {}).save()
    jobs[1].priority("high")
    queue.create_many(jobs)

    assert [job.id for job in jobs] == [2, 3, 4] and count(server) == 5


def test_many_jobs_of_which_some_calls_went_through_are_each_made_once(server: FaultyServer, queue: kue.Queue) -> None:
    jobs = [queue.create("t", {"n": n}) for n in range(2 * CREATE_MAX + 10)]
    scripts, calls = queue._store.producer._scripts, 0
    create = scripts.create

    def fail_from_the_second_on(client: Any, rows: Any, **options: Any) -> int:
        nonlocal calls
        calls += 1
        if calls > 1 and rows:
            create(client, rows, **options)
            raise redis.ConnectionError("cut")
        return create(client, rows, **options)

    scripts.create = fail_from_the_second_on  # type: ignore[method-assign]
    with pytest.raises(kue.QueueUnavailable):
        queue.create_many(jobs)
    scripts.create = create  # type: ignore[method-assign]

    queue.create_many(jobs)

    assert count(server) == len(jobs) == len({job.id for job in jobs})
    assert queue.get(jobs[-1].id or 0).data == jobs[-1].data


@pytest.mark.parametrize("chunk", [0, 1, 2])
def test_calls_that_were_sent_ahead_and_not_answered_make_their_jobs_once(
    server: FaultyServer, proxy: Proxy, queue: kue.Queue, chunk: int
) -> None:
    # Given a server that knows the script, so that each call is sent before the one before is answered
    queue.create_many([{"type": "t"}] * (CREATE_MAX + 1))
    # When the answer to one of three calls is lost, and the connection with it
    marked = chunk * CREATE_MAX + CREATE_MAX // 2
    proxy.swallow(names_create)
    texts = ["a-job-of-this-test" if n == marked else "x" for n in range(2 * CREATE_MAX + 600)]
    jobs = queue.create_many([{"type": "t", "data": {"text": text}} for text in texts])
    # Then each job was made once, and has the id under which it is stored
    assert proxy.swallowed.is_set()
    assert count(server) == CREATE_MAX + 1 + len(jobs) and len({job.id for job in jobs}) == len(jobs)
    assert [queue.get(jobs[at].id or 0).data["text"] for at in (0, marked, -1)] == ["x", texts[marked], "x"]


class Stopped(BaseException):
    """Stands for what stops a handler in its midst."""


def test_a_stopped_caller_takes_nobody_along(server: FaultyServer) -> None:
    scripts, under_way, go_on = Scripts(Keys()), threading.Event(), threading.Event()
    producer = Producer(Connector(server.url), scripts)
    create, stops = scripts.create, [Stopped()]

    def slowly(client: Any, rows: Any, **options: Any) -> int:
        first = create(client, rows, **options)
        under_way.set()
        assert go_on.wait(10)
        if stops and len(rows) > 1:
            raise stops.pop()
        return first

    scripts.create = slowly  # type: ignore[method-assign]
    row = ("t", "{}", "0", "", "", "", "", "")
    ends: list[Any] = []

    def save() -> None:
        try:
            ends.append(producer.create([row], [threading.current_thread()])[0])
        except Stopped as exc:
            ends.append(exc)

    # Given three callers, of whom the second leads the third
    threads = [threading.Thread(target=save) for _ in range(3)]
    for at, thread in enumerate(threads):
        thread.start()
        while at and len(producer._waiting) < at:
            time.sleep(0.001)
        assert under_way.wait(10)
    # When it is stopped with its call under way
    go_on.set()
    for thread in threads:
        thread.join(10)

    # Then the third knows nothing of it, nobody waits for ever, and the stopped one finds its job
    assert sorted(type(end).__name__ for end in ends) == ["Stopped", "int", "int"]
    assert producer.create([row]) == [4]
    stopped = next(place for place in producer._unresolved.values())
    assert stopped.call.first is not None
    producer.close()


def test_a_log_line_whose_answer_was_lost_is_written_once(proxy: Proxy, queue: kue.Queue) -> None:
    job = queue.create("t", {}).save()
    job.log("the same twice")
    proxy.swallow(lambda data: b"the-line-of-this-test" in data)
    job.log("the-line-of-this-test")
    assert proxy.swallowed.is_set()
    job.log("the same twice")
    job.log("the same twice")
    assert queue.log(job.id or 0) == ["the same twice", "the-line-of-this-test", "the same twice", "the same twice"]
