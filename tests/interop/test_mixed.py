"""Node Kue and Python as one pool on one queue: producers, workers and listeners of both kinds."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from tests.interop.consistency import inconsistencies
from tests.interop.dump import normal_job
from tests.interop.node import Node
from tests.interop.sides import NodeSide, PythonSide, node_options
from tests.interop.tap import Tap
from tests.support import wait_until

JOBS = 2_000
#: Of these, those that Node does alone for a comparison.
ALONE = 200
#: Jobs that each side's workers run at once.
CONCURRENCY = 10
#: The whole pool is through after some 10 s; the limit is for a busy machine.
POOL_LIMIT_S = 60.0
TTL_MS = 300

FAIL: list[Any] = ["fail", "planned failure"]


@dataclass(frozen=True)
class Kind:
    """A kind of job: what its handler does attempt by attempt, its options, and the events it must cause.

    ``ends`` is the last event that it comes to by itself; then the other side removes it, if that is its kind.
    """

    plan: list[list[Any]]
    events: list[str]
    runs: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    share: int = 10
    removed: bool = False

    @property
    def ends(self) -> str | None:
        own = self.events[:-1] if self.removed else self.events
        return own[-1] if own else None


ENQUEUE_START = ["enqueue", "start"]
RETRY_AT_ONCE = ["error", "enqueue", "failed attempt", "start"]
RETRY_LATER = ["error", "failed attempt", "promotion", "enqueue", "start"]

KINDS: dict[str, Kind] = {
    "plain": Kind([[]], [*ENQUEUE_START, "complete"]),
    "result": Kind([[["sleep", 3], ["return", {"n": [1, "á"]}]]], [*ENQUEUE_START, "complete"]),
    "talkative": Kind(
        [[["log", "line %d", 1], ["progress", 1, 2], ["progress", 2, 2, {"step": "last"}], ["return", 1]]],
        [*ENQUEUE_START, "progress", "progress", "complete"],
    ),
    "removed": Kind([[["return", 2]]], [*ENQUEUE_START, "complete", "remove"], options={"remove_on_complete": True}),
    "delayed": Kind([[]], ["promotion", *ENQUEUE_START, "complete"], options={"delay": 300}),
    "retried": Kind([[FAIL], [["return", 3]]], [*ENQUEUE_START, *RETRY_AT_ONCE, "complete"], 2, {"attempts": 3}),
    "fixed": Kind(
        [[FAIL], [["return", 4]]], [*ENQUEUE_START, *RETRY_LATER, "complete"], 2,
        {"attempts": 2, "backoff": {"type": "fixed", "delay": 50}},
    ),
    "exponential": Kind(
        [[FAIL], [FAIL], [["return", 5]]], [*ENQUEUE_START, *RETRY_LATER, *RETRY_LATER, "complete"], 3,
        {"attempts": 4, "backoff": {"type": "exponential", "delay": 40}},
    ),
    "hopeless": Kind([[FAIL]], [*ENQUEUE_START, *RETRY_AT_ONCE, "error", "failed"], 2, {"attempts": 2}),
    "told": Kind([[["fail text", "no"]]], [*ENQUEUE_START, "error", "failed"]),
    "in time": Kind(
        [[["sleep", 100], ["progress", 1, 2], ["return", 6]]], [*ENQUEUE_START, "progress", "complete"],
        options={"ttl": 10_000}, share=3,
    ),
    "overdue": Kind(
        [[["hang"]], [["return", 7]]],
        [*ENQUEUE_START, *RETRY_AT_ONCE, "complete"], 2, {"ttl": TTL_MS, "attempts": 2}, share=1,
    ),
    "withdrawn": Kind([[]], ["remove"], 0, {"delay": 600_000}, removed=True),
    "cleared": Kind(
        [[["log", "x"], ["return", {"a": 1}]]], [*ENQUEUE_START, "complete", "remove"], removed=True,
    ),
    "given up": Kind([[FAIL]], [*ENQUEUE_START, "error", "failed", "remove"], removed=True),
}  # fmt: skip


@pytest.fixture
def python(redis_url: str) -> Iterator[PythonSide]:
    side = PythonSide(redis_url)
    yield side
    side.close()


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


def test_a_mixed_pool_does_each_job_exactly_once_and_all_listeners_hear_the_same(
    python: PythonSide, node: NodeSide, node_worker: Node, redis_url: str, redis_client: redis.Redis
) -> None:
    chance = random.Random(11)
    names = chance.choices(list(KINDS), [kind.share for kind in KINDS.values()], k=JOBS)
    wanted = [Wanted(kind, ("pool", {"n": n, "plan": KINDS[kind].plan}), options(kind, chance)) for n, kind in
              enumerate(names)]  # fmt: skip
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


@dataclass(frozen=True)
class Wanted:
    """A job of the pool: its kind, type and data, and options."""

    kind: str
    args: tuple[str, dict[str, Any]]
    options: dict[str, Any]


def create_all(side: PythonSide | NodeSide, share: list[Wanted]) -> list[int]:
    if isinstance(side, PythonSide):
        return [side.create(*job.args, **job.options) for job in share]
    made: list[int] = side.node.call(
        "createMany", [(*job.args, node_options(job.options)) for job in share], timeout_s=POOL_LIMIT_S
    )
    return made


def said(tap: Tap, made: dict[int, Wanted]) -> dict[int, Any]:
    return {
        job_id: without_watcher(job.kind, comparable([message["event"] for message in tap.of(job_id)]))
        for job_id, job in made.items()
    }


def without_watcher(kind: str, events: tuple[list[str], Counter[str]]) -> tuple[list[str], Counter[str]]:
    """On a busy machine Node's watcher may fail an overdue job itself, and it says no ``failed attempt`` then."""
    if kind == "overdue":
        del events[1]["failed attempt"]
    return events


def forms(client: redis.Redis, made: dict[int, Wanted]) -> dict[str, set[str]]:
    """What is left of the jobs of each kind: hash and log, without what tells one job from another."""
    found: dict[str, set[str]] = {}
    for job_id, job in made.items():
        fields = client.hgetall(f"q:job:{job_id}")
        if fields:
            if "delay" not in fields:  # a failure in the same millisecond would be as good an explanation of it
                assert fields["promote_at"] == fields["created_at"]
                fields["promote_at"] = "0"
            fields = {name: value for name, value in normal_job(fields).items() if name not in ("data", "priority")}
            log = client.lrange(f"q:job:{job_id}:log", 0, -1)
            found.setdefault(job.kind, set()).add(f"{sorted(fields.items())} {log}")
    return found


def scores(client: redis.Redis) -> list[str]:
    """Members of the sets whose score is not the job's priority, when nothing waits for its time or runs."""
    wrong = []
    for key in ["q:jobs", *client.keys("q:jobs:*")]:
        for zid, score in client.zrange(key, 0, -1, withscores=True):
            if score != float(client.hget(f"q:job:{zid.partition('|')[2]}", "priority") or "nan"):
                wrong.append(f"{key} {zid} {score}")
    return wrong


def ended(tap: Tap, job_id: int, job: Wanted) -> bool:
    last = KINDS[job.kind].ends
    return last is None or any(message["event"] == last for message in tap.of(job_id))


def comparable(events: list[str]) -> tuple[list[str], Counter[str]]:
    """The order of what one worker says after the other, and how often everything was said.

    Node says ``enqueue`` and ``failed attempt`` when its transaction is over: another worker may have the job by then.
    What watchers of ttls tell each other they may tell twice.
    """
    said = [event for event in events if not event.startswith("ttl exceeded")]
    return [event for event in said if event not in ("enqueue", "failed attempt", "promotion")], Counter(said)


def options(kind: str, chance: random.Random) -> dict[str, Any]:
    return {**KINDS[kind].options, "priority": chance.choice(["low", "normal", "high", 3, -2.5])}


def check_end(client: redis.Redis, job_id: int, kind: str) -> None:
    job = client.hgetall(f"q:job:{job_id}")
    last = KINDS[kind].events[-1]
    if last == "remove":
        assert job == {}
        return
    assert (job["state"], int(job["attempts"])) == (last, KINDS[kind].runs)
    assert ("error" in job) == ("error" in KINDS[kind].events)
    assert ("result" in job) == (kind not in ("plain", "delayed", "hopeless", "told"))
    assert ("progress_data" in job) == (kind == "talkative")
    lines = client.lrange(f"q:job:{job_id}:log", 0, -1)
    failures = KINDS[kind].events.count("error")
    expected = {"talkative": ["line 1"], "told": [""]}.get(kind, ["Error: planned failure"] * failures)
    assert lines == (["TTL exceeded"] if kind == "overdue" else expected)


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
    return {key for key in keys if key.startswith(("q:workers", "q:lane"))}


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


def test_a_job_object_hears_the_same_events_on_both_sides(python: PythonSide, node: NodeSide, redis_url: str) -> None:
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
