"""Each scenario leaves the same keys and says the same events whether Node Kue runs it, or we do, or both together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.interop.harness.node import Node
from tests.interop.harness.play import Outcome, play
from tests.interop.harness.scenarios import SCENARIOS, TOGETHER
from tests.interop.harness.sides import MixedSide, NodeSide, PythonSide
from tests.support.redis_dump import differences


class NodePool:
    """Fresh Node processes, the next one always started ahead, since a start takes longer than most scenarios."""

    def __init__(self) -> None:
        self._spare = Node()

    def take(self) -> Node:
        node, self._spare = self._spare, Node()
        return node

    def close(self) -> None:
        self._spare.close()


@pytest.fixture(scope="module")
def nodes() -> Iterator[NodePool]:
    pool = NodePool()
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def kept_outcomes() -> dict[str, Outcome]:
    return {}


@pytest.fixture
def nodes_outcome(
    nodes: NodePool, kept_outcomes: dict[str, Outcome], redis_client: redis.Redis, redis_url: str
) -> Callable[[str], Outcome]:
    """What Node Kue alone makes of a scenario; it is run once, however many tests ask."""

    def outcome(name: str) -> Outcome:
        if name not in kept_outcomes:
            side = NodeSide(redis_url, nodes.take())
            kept_outcomes[name] = play(SCENARIOS[name], side, redis_client, redis_url)
            redis_client.flushall()
        return kept_outcomes[name]

    return outcome


def compare(ours: Outcome, nodes: Outcome) -> None:
    assert differences(ours.keys, nodes.keys) == []
    assert ours.events == nodes.events


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_of_ours_leaves_and_says_what_nodes_does(
    name: str, nodes_outcome: Callable[[str], Outcome], redis_client: redis.Redis, redis_url: str
) -> None:
    expected = nodes_outcome(name)
    compare(play(SCENARIOS[name], PythonSide(redis_url), redis_client, redis_url), expected)


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.parametrize("producer", ["Node", "Python"])
def test_a_scenario_of_both_leaves_and_says_what_nodes_does(
    name: str, producer: str, nodes: NodePool, nodes_outcome: Callable[[str], Outcome], redis_client: redis.Redis,
    redis_url: str,
) -> None:  # fmt: skip
    # Given what Node Kue alone makes of it
    expected = nodes_outcome(name)

    # When one side makes the jobs and the other works them
    node, python = NodeSide(redis_url, nodes.take()), PythonSide(redis_url)
    side = MixedSide(node, python) if producer == "Node" else MixedSide(python, node)
    outcome = play(SCENARIOS[name], side, redis_client, redis_url, functools.partial(seen_alike, node, python))

    # Then the result is the same
    compare(outcome, expected)


def seen_alike(node: NodeSide, python: PythonSide) -> None:
    """Both sides read each job as the same JSON form."""
    for job in python.queue.range(0, -1):
        assert python.queue.get(job.id).to_dict() == node.node.call("get", job.id)
        assert python.queue.log(job.id) == node.node.call("log", job.id)
    assert sorted(python.queue.types()) == sorted(node.node.call("types"))
    assert python.queue.counts() == node.node.call("counts", None)
