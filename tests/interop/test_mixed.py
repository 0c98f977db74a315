"""Node Kue and Python as one pool on one queue: producers, workers and listeners of both kinds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.interop.harness.node import Node
from tests.interop.harness.pool import (
    ALONE,
    CONCURRENCY,
    FAIL,
    JOBS,
    KINDS,
    POOL_LIMIT_S,
    TTL_MS,
    Wanted,
    check_end,
    comparable,
    create_all,
    draw,
    ended,
    forms,
    said,
    scores,
    without_watcher,
)
from tests.interop.harness.sides import NodeSide, PythonSide
from tests.interop.harness.tap import Tap
from tests.support import wait_until
from tests.support.consistency import inconsistencies


@pytest.fixture
def node(redis_url: str) -> Iterator[NodeSide]:
    side = NodeSide(redis_url)
    yield side
    side.close()


@pytest.fixture
def node_worker(redis_url: str) -> Iterator[Node]:
    """A second Node process, which only works."""
    with Node() as process:
        yield process.open(redis_url)


@pytest.mark.long
def test_a_mixed_pool_does_each_job_exactly_once_and_all_listeners_receive_the_same(
    python: PythonSide, node: NodeSide, node_worker: Node, redis_url: str, redis_client: redis.Redis
) -> None:
    wanted = draw(JOBS)
    with Tap(redis_url) as tap:
        # Given listeners of both kinds, and workers of both kinds on one type
        heard: list[tuple[Any, str, list[Any]]] = []
        stop_listening = python.queue.subscribe(lambda event: heard.append((event.id, event.event, event.args)))
        node.node.call("listen")
        node_worker.call("process", "pool", None, CONCURRENCY)
        python.work("pool", None, CONCURRENCY)

        # When producers of both kinds make jobs of every kind, at the same time
        made: dict[int, Wanted] = {}

        def produce(side: PythonSide | NodeSide, share: list[Wanted]) -> None:
            for start in range(0, len(share), 50):
                part = share[start : start + 50]
                made.update(zip(create_all(side, part), part, strict=True))

        producers = [threading.Thread(target=produce, args=(side, wanted[at::2])) for at, side in enumerate(
            [python, node])]  # fmt: skip
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join(timeout=POOL_LIMIT_S)
        assert len(made) == JOBS
        wait_until(lambda: all(ended(tap, job_id, made[job_id]) for job_id in made), POOL_LIMIT_S, 0.1, "all jobs end")

        # and each side removes jobs that the other has made
        for job_id, job in made.items():
            if KINDS[job.kind].removed:
                (python if job.args[1]["n"] % 2 else node).remove(job_id)
                tap.wait(job_id, "remove")
        wait_until(lambda: not inconsistencies(redis_client), 5, 0.1, "the keys agree")

        # Then each job ran as often as its plan says, whoever ran it
        runs = Counter(job_id for job_id, _ in python.ran) + Counter(note["id"] for note in node_worker.noted("ran"))
        assert {i: runs[i] for i in made} == {i: KINDS[job.kind].runs for i, job in made.items()}
        assert len(python.ran) > JOBS / 10 and len(node_worker.noted("ran")) > JOBS / 10, "both took part"

        # and caused the events of its kind (Node says "failed attempt" late), which all listeners heard alike
        expected = {i: without_watcher(job.kind, comparable(KINDS[job.kind].events)) for i, job in made.items()}
        try:
            wait_until(lambda: said(tap, made) == expected, 5, 0.2)
        finally:
            assert said(tap, made) == expected
        messages = [(message["id"], message["event"], message["args"][1:]) for message in tap.messages]
        wait_until(lambda: len(heard) >= len(messages) and len(node.node.noted("heard")) >= len(messages), 10)
        assert heard == messages
        assert [(note["id"], note["event"], note["args"]) for note in node.node.noted("heard")] == messages
        stop_listening()

        # and it is in the state that its kind ends in, with what its attempts left
        for job_id, job in made.items():
            check_end(redis_client, job_id, job.kind)
    left = forms(redis_client, made)
    assert scores(redis_client) == []

    # And a job of each kind is left as Node alone leaves it
    for side in (node, node_worker, python):
        side.close()
    redis_client.flushall()
    alone = NodeSide(redis_url)
    try:
        with Tap(redis_url) as tap:
            alone.work("pool", None, CONCURRENCY)
            made = dict(enumerate(wanted[:ALONE], start=1))
            assert create_all(alone, list(made.values())) == list(made)
            wait_until(lambda: all(ended(tap, i, made[i]) for i in made), POOL_LIMIT_S, 0.1, "Node alone is through")
            wait_until(lambda: not inconsistencies(redis_client), 5, 0.1, "the keys agree")
            for job_id, job in made.items():
                if KINDS[job.kind].removed:
                    alone.remove(job_id)
        nodes = forms(redis_client, made)
    finally:
        alone.close()
    assert nodes == left
    assert set(nodes) == {name for name, kind in KINDS.items() if kind.events[-1] != "remove"}


def test_each_side_removes_what_the_other_made(
    python: PythonSide, node: NodeSide, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given waiting, delayed, complete and failed jobs of either side
        python.work("done", None)
        made: dict[str, list[int]] = {}
        for side in (python, node):
            made[side.name] = [
                side.create("parked", {}),
                side.create("parked", {}, delay=60_000),
                side.create("done", {"plan": [[["log", "x"], ["return", 1]]]}),
                side.create("done", {"plan": [[FAIL]]}),
            ]
            tap.wait(made[side.name][2], "complete")
            tap.wait(made[side.name][3], "failed")

        # When the other side removes them
        for job_id in made["Node"]:
            python.remove(job_id)
        for job_id in made["Python"]:
            node.remove(job_id)

        # Then nothing is left but the counter, the types, the work time and the tokens
        left = {key for key in redis_client.keys("q:*")}
        assert left <= {"q:ids", "q:job:types", "q:stats:work-time", "q:parked:jobs", "q:done:jobs", *ours(left)}
        for job_id in [*made["Node"], *made["Python"]]:
            tap.wait(job_id, "remove")


def ours(keys: set[str]) -> set[str]:
    kept = ("q:workers", "q:lane", "q:clock", "q:wake", "q:alerts:turn:", "q:secret:")
    return {key for key in keys if key.startswith(kept)}


def test_a_python_worker_fails_its_overdue_job_once_while_node_watches(
    python: PythonSide, node: NodeSide, redis_url: str
) -> None:
    with Tap(redis_url) as tap:
        # Given a Node process that watches ttls, and a Python worker
        node.work("other", [])
        python.work("slow", None)

        # When jobs overrun their ttl, and succeed the second time
        ids = [node.create("slow", {"plan": [[["hang"]], [["return", "late"]]]}, ttl=TTL_MS, attempts=2)]
        for job_id in ids:
            tap.wait(job_id, "complete")

        # Then each failed once and succeeded once
        for job_id in ids:
            said = Counter(message["event"] for message in tap.of(job_id))
            assert (said["failed attempt"], said["failed"], said["complete"], said["start"]) == (1, 0, 1, 2)
            assert python.queue.get(job_id).attempts_made == 2


def test_a_node_worker_fails_its_overdue_job_once_while_python_watches(
    python: PythonSide, node: NodeSide, redis_url: str
) -> None:
    with Tap(redis_url) as tap:
        python.work("other", [])
        node.work("slow", None)
        job_id = python.create("slow", {"plan": [[["hang"]], [["return", "late"]]]}, ttl=TTL_MS, attempts=2)
        tap.wait(job_id, "complete")
        said = Counter(message["event"] for message in tap.of(job_id))
        assert (said["failed attempt"], said["failed"], said["complete"], said["start"]) == (1, 0, 1, 2)
        assert python.queue.get(job_id).attempts_made == 2


def test_python_brings_back_the_job_of_a_dead_node_worker_when_its_ttl_is_over(
    python: PythonSide, node: NodeSide, node_worker: Node, redis_url: str, redis_client: redis.Redis
) -> None:
    with Tap(redis_url) as tap:
        # Given a Node worker that dies with a job in hand
        node_worker.call("process", "slow", None, 1)
        job_id = node.create("slow", {"plan": [[["hang"]], [["return", "saved"]]]}, ttl=TTL_MS, attempts=2)
        tap.wait(job_id, "start")
        node_worker.kill()

        # When only Python is left
        python.work("slow", None)

        # Then it fails the attempt when the time is over, and does the job
        tap.wait(job_id, "complete")
        assert redis_client.hget(f"q:job:{job_id}", "result") == '"saved"'
        assert inconsistencies(redis_client) == []


def test_python_leaves_the_job_of_a_living_node_worker_alone(
    python: PythonSide, node: NodeSide, redis_url: str
) -> None:
    with Tap(redis_url) as tap:
        python.work("slow", None)
        node.work("busy", None)
        job_id = python.create("busy", {"plan": [[["sleep", 1500], ["return", 1]]]})
        tap.wait(job_id, "complete")
        assert [message["event"] for message in tap.of(job_id)] == ["enqueue", "start", "complete"]


def test_a_job_object_gets_the_same_events_on_both_sides(python: PythonSide, node: NodeSide, redis_url: str) -> None:
    plan = [[FAIL], [["progress", 1, 2, {"step": 1}], ["return", {"ok": 1}]]]
    expected = [("enqueue", 1), ("start", 2), ("failed attempt", 1), ("progress", 1), ("complete", 1)]

    with Tap(redis_url) as tap:
        # Given a job of each side with a listener on the Job object, worked by the other side
        heard: list[tuple[str, list[Any]]] = []
        job = python.queue.create("by node", {"plan": plan}, attempts=2)
        for event, _ in expected:
            job.on(event, lambda *args, event=event: heard.append((event, list(args))))
        job.save()
        node.work("by node", None)
        python.work("by python", None)
        node_id = node.node.call("create", "by python", {"plan": plan}, {"attempts": 2, "listen": True})
        tap.wait(job.id, "complete")
        tap.wait(node_id, "complete")

        # Then both heard the same
        notes = wait_until(
            lambda: [note for note in node.node.noted("job heard") if note["event"] == "complete"] and
            [note for note in node.node.noted("job heard") if note["event"] != "error"]
        )  # fmt: skip
        wait_until(lambda: any(event == "complete" for event, _ in heard))
        assert sorted(_without_type(note["event"], note["args"]) for note in notes) == sorted(
            _without_type(event, args) for event, args in heard
        )
        assert Counter(event for event, _ in heard) == Counter({"enqueue": 2, "start": 2, "failed attempt": 1,
                                                                "progress": 1, "complete": 1})  # fmt: skip


def _without_type(event: str, args: list[Any]) -> tuple[str, str]:
    return event, repr(["<type>" if arg in ("by node", "by python") else arg for arg in args])
