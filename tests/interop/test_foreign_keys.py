"""Data that only Node Kue writes, and the garbage left by its races, do no harm."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import kue
from tests.interop.harness.node import Node
from tests.interop.harness.sides import NodeSide, PythonSide
from tests.interop.harness.tap import Tap
from tests.support import wait_until
from tests.support.consistency import inconsistencies

FUNCTION = "function( attempts, delay ) { require('fs'); return attempts * 100000; }"


@pytest.fixture
def node(redis_url: str) -> Iterator[Node]:
    with Node() as process:
        yield process.open(redis_url)


def test_a_delay_with_a_fraction_is_waited_for(node: Node, python: PythonSide, redis_url: str) -> None:
    with Tap(redis_url) as tap:
        python.work("email", [])
        job_id = node.call("create", "email", {}, {"delay": 100.5})
        tap.wait(job_id, "complete")
        assert [message["event"] for message in tap.of(job_id)] == ["promotion", "enqueue", "start", "complete"]


def test_a_backoff_function_is_kept_but_not_run(
    python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given a job whose backoff is JavaScript, with a delay of its own
        job_id = python.create("email", {}, attempts=2, delay=100)
        redis_client.hset(f"q:job:{job_id}", "backoff", FUNCTION)

        # When it fails here
        python.work("email", [[["fail", "boom"]], [["return", 1]]])
        tap.wait(job_id, "complete")

        # Then the text is as it was, the delay was waited for again, and the log says why
        job = redis_client.hgetall(f"q:job:{job_id}")
        assert job["backoff"] == FUNCTION
        assert job["delay"] == "100"
        assert int(job["started_at"]) - int(job["failed_at"]) >= 100
        assert any("backoff" in line for line in python.queue.log(job_id))


def test_node_leaves_the_trace_of_a_job_alone(
    node: Node, python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given a job that belongs to a trace
        trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "baggage": "tenant=acme"}
        job = python.queue.create("email", {"to": "tj"}).attempts(2)
        job.trace_context = trace
        job.save()
        # When Node saves it again, fails it and completes it
        node.call("setPriority", job.id, "high")
        node.call("process", "email", [[["fail", "boom"]], [["return", 1]]], 1)
        tap.wait(job.id, "complete")
        # Then it still does, and its data are what they were
        job = python.queue.get(job.id)
        assert job.trace_context == trace and job.data == {"to": "tj"}
        python.queue.remove(job.id)
        assert redis_client.exists(f"q:job:{job.id}") == 0


def test_a_backoff_function_of_a_node_producer_is_kept_for_nodes_workers(
    node: Node, python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given a job of a Node producer with a function, which a worker of ours fails once and saves again
        code = "function(attempts, delay){ return attempts * 100 }"
        job_id = node.call("create", "email", {}, {"attempts": 2, "delay": 600, "backoffCode": code})
        python.work("email", [[["fail", "boom"]]])
        tap.wait(job_id, "failed attempt")
        python.queue.shutdown(5)  # before its own delay is over, which is waited for again
        python.queue.get(job_id).save()
        assert redis_client.hget(f"q:job:{job_id}", "backoff") == code

        # Then a Node worker can still read the job and run it
        node.call("process", "email", [[["return", "read"]]], 1)
        tap.wait(job_id, "complete")
        assert python.queue.get(job_id).attempts_made == 2


def test_a_ttl_watcher_of_node_that_missed_our_answer_is_given_it_again(
    python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given a Node watcher at work, which has read the overdue jobs and does not listen yet
        redis_client.set("activeJobsTTL:lock", "x", px=2000)
        python.work("slow", [[["hang"]], [["return", 1]]])

        # When our job runs past its ttl and does well the second time
        job_id = python.create("slow", {}, ttl=100, attempts=2)
        tap.wait(job_id, "complete")

        # Then the answer is given again within the watcher's second
        tap.wait(job_id, "ttl exceeded ack", 2)


def test_an_event_with_a_textual_id_belongs_to_that_job(python: PythonSide, redis_client: redis.Redis) -> None:
    heard: list[Any] = []
    python.queue.on("job remove", lambda *args: heard.append(args))
    redis_client.publish("q:events", '{"id":"7","event":"remove","args":["remove","email"]}')
    wait_until(lambda: heard)
    assert heard == [(7, "email")]


@pytest.mark.parametrize(
    "message", ["", "nonsense", "7", "null", "[]", "{}", '{"id":1}', '{"id":1,"event":"unheard of","args":[]}', b"\xff",
                '{"id":1,"event":"complete"}', '{"id":1,"event":"complete","args":null}',
                '{"id":[],"event":{},"args":1}'],
)  # fmt: skip
def test_nonsense_on_the_channel_is_passed_over(
    message: Any, python: PythonSide, redis_client: redis.Redis
) -> None:
    heard: list[Any] = []
    python.queue.on("job remove", lambda *args: heard.append(args))
    redis_client.publish("q:events", message)
    redis_client.publish("q:events", '{"id":7,"event":"remove","args":["remove","email"]}')
    wait_until(lambda: heard)
    assert heard == [(7, "email")]


def test_a_hash_without_a_type_is_not_a_job(python: PythonSide, redis_client: redis.Redis) -> None:
    # Given what Node leaves when an active job is removed: a late completion
    job_id = python.create("email", {})
    redis_client.hset("q:job:99", mapping={"state": "complete", "progress": "100", "duration": "5"})
    redis_client.zadd("q:jobs:complete", {"02|99": 0})
    redis_client.zadd("q:jobs:email:complete", {"02|99": 0})

    # Then it is not found, ranges pass it over, and removing it is refused
    with pytest.raises(kue.JobNotFound):
        python.queue.get(99)
    assert [job.id for job in python.queue.range(0, -1)] == [job_id]
    assert python.queue.range_by_state("complete", 0, -1) == []
    assert python.queue.range_by_type("email", "complete", 0, -1) == []
    with pytest.raises(kue.JobNotFound):
        python.queue.remove(99)


def test_a_worker_passes_over_an_entry_without_a_hash(
    python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given an entry for a job that is not there, ahead of one that is
        redis_client.zadd("q:jobs:inactive", {"01|1": -50})
        redis_client.zadd("q:jobs:email:inactive", {"01|1": -50})
        redis_client.lpush("q:email:jobs", "1")
        redis_client.set("q:ids", 1)
        job_id = python.create("email", {})

        # Then the real one is done, and the entry is gone
        python.work("email", [])
        tap.wait(job_id, "complete")
        assert inconsistencies(redis_client) == []


def test_a_job_whose_token_was_lost_is_done_anyway(
    python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        job_id = python.create("email", {})
        redis_client.delete("q:email:jobs")
        python.work("email", [])
        tap.wait(job_id, "complete")


def test_a_token_that_a_node_worker_would_miss_is_restored(
    node: Node, python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given a waiting job without a token, and a Node worker asleep on the list
        job_id = python.create("email", {})
        redis_client.delete("q:email:jobs")
        node.call("process", "email", [[]], 1)

        # When a Python process keeps house, though it works another type
        python.work("other", [])

        # Then the Node worker gets its job
        tap.wait(job_id, "complete")


def test_data_that_is_not_json_can_be_read_run_and_removed(
    python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        first, second = python.create("email", {}), python.create("parked", {})
        for job_id in (first, second):
            redis_client.hset(f"q:job:{job_id}", "data", "{not json")
        assert [job.id for job in python.queue.range(0, -1)] == [first, second]
        python.work("email", [])
        tap.wait(first, "complete")
        python.remove(first)
        python.remove(second)
        assert redis_client.keys("q:job:[0-9]*") == []


def test_a_job_with_an_unknown_priority_word_is_read_and_removed(
    node: Node, python: PythonSide, redis_client: redis.Redis
) -> None:
    # Given a job that Node has saved without any set taking it
    job_id = node.call("create", "email", {}, {"priority": "nonsense"})
    assert redis_client.zcard("q:jobs") == 0

    # Then it can be looked at, and removed without a trace
    assert python.queue.get(job_id).type == "email"
    python.remove(job_id)
    assert redis_client.keys("q:job:[0-9]*") == []


def test_a_job_in_an_unknown_state_is_read_and_can_be_brought_back(
    node: Node, python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        job_id = node.call("create", "email", {}, {})
        node.call("setState", job_id, "paused")
        assert python.queue.get(job_id).state == "paused"
        python.set_state(job_id, "inactive")
        python.work("email", [])
        tap.wait(job_id, "complete")
        assert not redis_client.exists("q:jobs:paused", "q:jobs:email:paused")


def test_a_job_that_node_has_half_taken_is_repaired_by_setting_it_inactive(
    python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given a worker that died between taking the job from the set and making it active
        job_id = python.create("email", {})
        redis_client.delete("q:jobs:email:inactive", "q:email:jobs")

        # When somebody sets it inactive again
        python.set_state(job_id, "inactive")

        # Then it is done
        python.work("email", [])
        tap.wait(job_id, "complete")
        assert inconsistencies(redis_client) == []


def test_the_error_of_an_earlier_attempt_stays_when_node_completes(
    node: Node, python: PythonSide, redis_url: str
) -> None:
    with Tap(redis_url) as tap:
        job_id = node.call("create", "email", {}, {"attempts": 2})
        node.call("process", "email", [[["fail", "boom"]], [["return", {"a": 1}]]], 1)
        tap.wait(job_id, "complete")
        job = python.queue.get(job_id)
        assert (job.state, job.result, job.attempts_made) == ("complete", {"a": 1}, 2)
        assert job.error is not None and job.error.startswith("Error: boom\n    at ")


def test_when_node_removes_our_job_nothing_of_it_is_left(redis_url: str, redis_client: redis.Redis) -> None:
    # Given a Python job with all that a worker of ours leaves in it
    python, node = PythonSide(redis_url), NodeSide(redis_url)
    try:
        with Tap(redis_url) as tap:
            job_id = python.create("email", {"a": 1}, attempts=2)
            python.work("email", [[["fail", "boom"]], [["return", 2]]])
            tap.wait(job_id, "complete")
            assert redis_client.hexists(f"q:job:{job_id}", "attempt_log")

            # When Node removes it
            node.remove(job_id)

            # Then nothing of it is left
            left = [key for key in redis_client.keys("*") if str(job_id) in key.split(":")]
            assert left == []
    finally:
        node.close()
        python.close()


def test_an_attempt_of_ours_has_no_say_in_a_job_that_node_put_back_and_took(
    redis_url: str, redis_client: redis.Redis
) -> None:
    # Given a job that a worker of ours runs, put back by Node's dashboard
    python, node = PythonSide(redis_url), NodeSide(redis_url)
    running, let_go = threading.Event(), threading.Event()

    def handler(job: kue.Job) -> str:
        running.set()
        let_go.wait(10)
        return "ours"

    try:
        with Tap(redis_url) as tap:
            python.queue.process("email", handler)
            job_id = python.create("email", {})
            assert running.wait(5)
            python.queue.quiet()
            node.set_state(job_id, "inactive")

            # When a Node worker has it, and ours comes to its end meanwhile
            node.work("email", [[["sleep", 600], ["return", "Node's"]]])
            tap.wait(job_id, "start", 2)
            let_go.set()
            tap.wait(job_id, "complete")

            # Then it completed once, by whom it was taken last, and no lease is left
            wait_until(lambda: not redis_client.exists("q:leases"), message="the lease is gone")
            wait_until(lambda: not inconsistencies(redis_client))
            assert [message["event"] for message in tap.of(job_id)].count("complete") == 1
            assert python.queue.get(job_id).result == "Node's"
    finally:
        let_go.set()
        node.close()
        python.close()


def test_nothing_comes_back_when_node_removes_a_job_that_ours_runs(redis_url: str, redis_client: redis.Redis) -> None:
    python, node = PythonSide(redis_url), NodeSide(redis_url)
    running, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    def handler(job: kue.Job) -> None:
        running.set()
        let_go.wait(10)
        try:
            job.progress(1, 2)
        finally:
            ended.set()

    try:
        python.queue.process("email", handler)
        job_id = python.create("email", {})
        assert running.wait(5)
        # When Node removes it, and the handler goes on and ends
        node.remove(job_id)
        let_go.set()
        assert ended.wait(5)
        python.queue.shutdown(5)
        # Then there is nothing of it
        assert [key for key in redis_client.keys("*") if str(job_id) in key.split(":")] == []
        assert inconsistencies(redis_client) == []
    finally:
        let_go.set()
        node.close()
        python.close()


def test_what_node_s_worker_writes_of_a_job_that_was_removed_is_met_without_harm(
    node: Node, python: PythonSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given a job that a Node worker runs, removed by us
        node.call("process", "email", [[["sleep", 300], ["return", 1]]], 1)
        job_id, other = python.create("email", {}), python.create("email", {})
        tap.wait(job_id, "start")
        python.remove(job_id)

        # When the Node worker comes to its end and writes into a hash that is not there
        tap.wait(other, "complete")
        assert redis_client.exists(f"q:job:{job_id}")

        # Then it is no job, in no list, and does not stop the others
        with pytest.raises(kue.JobNotFound):
            python.queue.get(job_id)
        assert [job.id for job in python.queue.range_by_type("email", "complete", 0, -1)] == [other]
        with pytest.raises(kue.JobNotFound):
            python.remove(job_id)
        assert not redis_client.exists(f"q:job:{job_id}")


def test_a_producer_of_node_s_that_died_in_mid_save_is_met_without_harm(
    node: Node, python: PythonSide, redis_client: redis.Redis
) -> None:
    # Given a hash without a state, in no set but q:jobs
    redis_client.hset("q:job:1", mapping={"type": "email", "created_at": 1, "promote_at": 1, "priority": 0})
    redis_client.zadd("q:jobs", {"01|1": 0})
    redis_client.set("q:ids", 1)

    # Then it is read as Node reads it, can be put where it belongs, and removed
    assert [job.to_dict() for job in python.queue.range(0, -1)] == node.call("range", 0, -1, "asc")
    python.set_state(1, "inactive")
    assert inconsistencies(redis_client) == []
    python.remove(1)
    assert redis_client.keys("q:job:1*") == [] and redis_client.zcard("q:jobs") == 0


def test_ids_keep_their_order_where_their_length_changes(
    node: Node, python: PythonSide, redis_client: redis.Redis
) -> None:
    redis_client.set("q:ids", 98)
    ids = [python.create("email", {}), node.call("create", "email", {}, {}), python.create("email", {})]
    assert ids == [99, 100, 101]
    assert [job.id for job in python.queue.range(0, -1)] == ids
    assert [job["id"] for job in node.call("range", 0, -1, "asc")] == ids
    assert redis_client.zrange("q:jobs", 0, -1) == ["02|99", "03|100", "03|101"]


def test_ranges_are_the_same_on_both_sides(node: Node, python: PythonSide) -> None:
    for n in range(6):
        python.create("email", {"n": n}, priority=[5, 0, -5][n % 3])
    for page in [(0, -1, "asc"), (0, 2, "asc"), (0, 2, "desc"), (1, 1, "asc"), (4, 99, "desc"), (-2, -1, "asc")]:
        ours = [job.id for job in python.queue.range(*page)]
        assert ours == [job["id"] for job in node.call("range", *page)]
        ours = [job.id for job in python.queue.range_by_state("inactive", *page)]
        assert ours == [job["id"] for job in node.call("rangeByState", "inactive", *page)]
        ours = [job.id for job in python.queue.range_by_type("email", "inactive", *page)]
        assert ours == [job["id"] for job in node.call("rangeByType", "email", "inactive", *page)]


def test_the_json_of_an_event_is_spelled_as_nodes(python: PythonSide, redis_client: redis.Redis) -> None:
    with redis_client.pubsub() as pubsub:
        pubsub.subscribe("q:events")
        pubsub.get_message(timeout=2)
        python.work("email", [[["progress", 1, 2, {"bước": "một"}], ["return", {"ok": True}]]])
        python.create("email", {})
        said = []
        deadline = time.monotonic() + 5
        while len(said) < 4 and time.monotonic() < deadline:
            message = pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
            if message:
                said.append(message["data"])
    assert said == [
        '{"id":1,"event":"enqueue","args":["enqueue","email"]}',
        '{"id":1,"event":"start","args":["start","email",null]}',
        '{"id":1,"event":"progress","args":["progress",50,{"bước":"một"}]}',
        '{"id":1,"event":"complete","args":["complete",{"ok":true},null]}',
    ]
    assert all(json.loads(text) for text in said)
