"""Schedules together with Node Kue: its workers run their jobs and ignore the keys."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from kue import doctor
from kue.queue import Queue
from tests.interop.harness.node import Node
from tests.support import wait_until
from tests.support.consistency import inconsistencies


@pytest.fixture
def node(redis_url: str) -> Iterator[Node]:
    node = Node().open(redis_url, disableSearch=False)
    yield node
    node.close()


def test_node_runs_the_jobs_of_a_schedule(queue: Queue, node: Node, redis_client: redis.Redis) -> None:
    # Given a worker of Node's for the type, and one of ours for another
    node.call("process", "email", [[["log", "from the schedule"], ["progress", 1, 2], ["return", 1]]], 2)
    queue.process("other", lambda job: None)
    # When a schedule fires
    queue.schedule("often", "email", {"title": "hello"}, every=200, limit=3, overlap="allow", missed="all", ttl=5000)
    wait_until(lambda: queue.card("complete", "email") == 3, 15)
    # Then Node ran its jobs, which say what they come from, and the queue is as it should be
    for job in queue.range_by_type("email", "complete", 0, -1):
        assert job.schedule == "often" and queue.log(job.id or 0) == ["from the schedule"]
    saved = queue.get_schedule("often")
    assert saved.ended and saved.count == 3
    # A job that Node removes leaves nothing behind
    node.call("remove", saved.last_job)
    wait_until(lambda: queue.card("complete", "email") == 2, 5)
    assert inconsistencies(redis_client) == []
    assert list(doctor.examine(queue, settle_s=0.1, tokens_settle_s=0.5)) == []
