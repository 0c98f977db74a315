"""Each scenario leaves the same keys and says the same events whether Node Kue runs it, or we do, or both together."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest
import redis

from tests.interop.harness.node import ReusedNodes
from tests.interop.harness.play import Outcome, play
from tests.interop.harness.scenarios import SCENARIOS, TOGETHER
from tests.interop.harness.sides import MixedSide, NodeSide, PythonSide
from tests.support.redis_dump import differences


@pytest.fixture(scope="module")
def nodes() -> Iterator[ReusedNodes]:
    nodes = ReusedNodes()
    yield nodes
    nodes.end()


def compare(ours: Outcome, nodes: Outcome, who: str = "Python alone") -> None:
    assert differences(ours.keys, nodes.keys) == [], who
    assert ours.events == nodes.events, who


#: Each scenario, and who makes its jobs while the other works on them, or None: we do both.
CASES = [
    *(pytest.param(name, None, id=name) for name in SCENARIOS),
    *(
        pytest.param(name, producer, id=f"{name}, made by {producer}", marks=pytest.mark.long)
        for name in TOGETHER
        for producer in ("Node", "Python")
    ),
]


@pytest.mark.parametrize(("name", "producer"), CASES)
def test_a_scenario_leaves_and_says_the_same_as_with_node(
    name: str, producer: str | None, nodes: ReusedNodes, redis_client: redis.Redis, redis_url: str
) -> None:
    # Given what Node Kue alone makes of it
    steps = SCENARIOS[name]
    expected = play(steps, NodeSide(redis_url, nodes.take()), redis_client, redis_url)

    # When we play it, or one side makes the jobs and the other works on them, then the result is the same
    redis_client.flushall()
    if producer is None:
        compare(play(steps, PythonSide(redis_url), redis_client, redis_url), expected)
        return
    node, python = NodeSide(redis_url, nodes.take()), PythonSide(redis_url)
    side = MixedSide(node, python) if producer == "Node" else MixedSide(python, node)
    outcome = play(steps, side, redis_client, redis_url, functools.partial(seen_alike, node, python))
    compare(outcome, expected, side.name)


def seen_alike(node: NodeSide, python: PythonSide) -> None:
    """Both sides read each job as the same JSON form."""
    for job in python.queue.range(0, -1):
        assert python.queue.get(job.id).to_dict() == node.node.call("get", job.id)
        assert python.queue.log(job.id) == node.node.call("log", job.id)
    assert sorted(python.queue.types()) == sorted(node.node.call("types"))
    assert python.queue.counts() == node.node.call("counts", None)
