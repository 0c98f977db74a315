"""Each scenario leaves the same keys and says the same events whether Node Kue runs it or we do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.interop.dump import Dump, differences, dump
from tests.interop.node import Node
from tests.interop.scenarios import SCENARIOS, Step
from tests.interop.sides import NodeSide, PythonSide, Side
from tests.interop.tap import Tap, normal_events

#: Node writes some keys after it has said the event that a scenario waits for.
SETTLED_S = 0.03
SETTLE_LIMIT_S = 3.0


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
def node_pool() -> Iterator[NodePool]:
    pool = NodePool()
    yield pool
    pool.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_leaves_what_it_leaves_with_node_alone(
    name: str, node_pool: NodePool, redis_client: redis.Redis, redis_url: str
) -> None:
    # Given what Node Kue makes of the scenario
    nodes, nodes_events = play(SCENARIOS[name], lambda: NodeSide(redis_url, node_pool.take()), redis_client, redis_url)
    redis_client.flushall()

    # When it is run by us
    ours, our_events = play(SCENARIOS[name], lambda: PythonSide(redis_url), redis_client, redis_url)

    # Then the keys and the events are the same
    assert differences(ours, nodes) == []
    assert our_events == nodes_events


def play(
    steps: list[Step], make_side: Callable[[], Side], client: redis.Redis, redis_url: str
) -> tuple[Dump, list[tuple[object, ...]]]:
    """Run the steps; the keys that they leave (the workers still there) and the events that were said."""
    with Tap(redis_url) as tap:
        side = make_side()
        try:
            for step in steps:
                actor = tap if step.method == "wait" else side
                getattr(actor, step.method)(*step.args, **(step.options or {}))
            return settled_dump(client), by_job(tap)
        finally:
            side.close()


def settled_dump(client: redis.Redis) -> Dump:
    """The keys once nothing changes any more."""
    deadline = time.monotonic() + SETTLE_LIMIT_S
    before = dump(client)
    while True:
        time.sleep(SETTLED_S)
        after = dump(client)
        if after == before:
            return after
        assert time.monotonic() < deadline, "the keys go on changing"
        before = after


def by_job(tap: Tap) -> list[tuple[object, ...]]:
    """The normalised events, job after job: between jobs the order is anybody's."""
    ids = sorted({str(message["id"]) for message in tap.messages}, key=int)
    return [event for job_id in ids for event in normal_events(tap.of(int(job_id)))]
