"""The jobs of a mixed pool: what kinds there are, what each must cause and leave, and how a pool is read."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import redis

from tests.interop.harness.sides import NodeSide, PythonSide, node_options
from tests.interop.harness.tap import Tap
from tests.support.redis_dump import normal_job

JOBS = 1_000
#: Of these, those that Node does alone for a comparison.
ALONE = 150
#: Jobs that each side's workers run at once.
CONCURRENCY = 10
#: The whole pool is through after some 5 s; the limit is for a busy machine.
POOL_LIMIT_S = 120.0
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


@dataclass(frozen=True)
class Wanted:
    """A job of the pool: its kind, type and data, and options."""

    kind: str
    args: tuple[str, dict[str, Any]]
    options: dict[str, Any]


def draw(count: int) -> list[Wanted]:
    """Jobs of all kinds and priorities, the same each time."""
    chance = random.Random(11)
    names = chance.choices(list(KINDS), [kind.share for kind in KINDS.values()], k=count)
    return [Wanted(kind, ("pool", {"n": n, "plan": KINDS[kind].plan}), options(kind, chance)) for n, kind in
            enumerate(names)]  # fmt: skip


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
