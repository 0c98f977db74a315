"""Limits together with Node Kue: its jobs are limited too, and its changes to waiting jobs do no harm."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from kue import doctor
from kue.queue import Queue
from kue.states import ASIDE_UNTIL_MS
from tests.interop.harness.node import Node
from tests.support import wait_until
from tests.support.consistency import inconsistencies


@pytest.fixture
def node(redis_url: str) -> Iterator[Node]:
    node = Node().open(redis_url)
    yield node
    node.close()


def test_jobs_of_node_are_limited_by_key_and_it_sees_them_as_delayed(
    queue: Queue, node: Node, redis_client: redis.Redis
) -> None:
    # Given a limit by key, and a worker of ours at work on one job of each of two keys
    queue.limit("crawl", by="data.host", concurrency=1)
    release, running, most = threading.Event(), Counter[str](), Counter[str]()

    def crawl(job: Any) -> None:
        host = job.data["host"]
        running[host] += 1
        most[host] = max(most[host], running[host])
        release.wait(30)
        running[host] -= 1

    queue.process("crawl", 4, crawl)
    ids = node.call("createMany", [["crawl", {"host": host}] for host in "aaaaab"])
    wait_until(lambda: queue.active_count() == 2 and queue.delayed_count() == 4, 10)
    # Then Node sees the others as delayed, for ever
    waiting = [job_id for job_id in ids if node.call("get", job_id)["state"] == "delayed"]
    assert len(waiting) == 4
    assert {node.call("get", job_id)["promote_at"] for job_id in waiting} == {str(ASIDE_UNTIL_MS)}
    # When it promotes, removes, changes and saves some of them
    node.call("setState", waiting[0], "inactive")
    node.call("remove", waiting[1])
    node.call("setPriority", waiting[2], "high")
    node.call("save", waiting[3])
    wait_until(lambda: queue.get(waiting[0]).state == "delayed", 10)  # a promotion does not overrule a limit
    release.set()
    # Then all but the removed one complete, one at a time of each key
    wait_until(lambda: queue.complete_count() == 5, 15)
    assert most == {"a": 1, "b": 1}
    wait_until(lambda: inconsistencies(redis_client) == [], 5)
    assert list(doctor.examine(queue, settle_s=0.1, tokens_settle_s=0.5)) == []
