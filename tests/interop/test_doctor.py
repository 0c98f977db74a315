"""The doctor beside Node Kue at work: its half-done steps are no findings, what its crashes leave is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from kue import doctor
from kue.queue import Queue
from tests.interop.harness.node import Node
from tests.support import wait_until

#: Succeeds or fails once and then succeeds, with a log and progress.
SCRIPT = [[["log", "line"], ["progress", 1, 2], ["sleep", 5], ["fail", "once"]], [["return", 1]]]


@pytest.fixture
def node(redis_url: str) -> Iterator[Node]:
    node = Node().open(redis_url, disableSearch=False)
    yield node
    node.close()


def test_nothing_is_wrong_while_node_creates_works_and_removes(queue: Queue, node: Node) -> None:
    # Given Node producing and working: retries with and without backoff, delays, ttls, removal, search
    node.call("process", "email", SCRIPT, 10)
    options = [
        {"attempts": 2},
        {"attempts": 2, "backoff": {"type": "fixed", "delay": 20}},
        {"delay": 100, "priority": "low"},
        {"removeOnComplete": True, "ttl": 5000, "attempts": 3},
    ]
    jobs = [["email", {"title": f"welcome {n}", "n": n}, options[n % 4]] for n in range(300)]
    maker = threading.Thread(target=lambda: node.call("createMany", jobs, timeout_s=60))
    maker.start()
    # When the doctor goes through the queue meanwhile
    found = []
    give_up = time.monotonic() + 60
    while maker.is_alive() or sum(queue.counts()[state] for state in ("inactive", "active", "delayed")):
        assert time.monotonic() < give_up
        found += list(doctor.examine(queue, tokens_settle_s=2))
    maker.join()
    # Then it finds nothing, nor afterwards
    assert found == []
    assert list(doctor.examine(queue, settle_s=0.1, tokens_settle_s=0.5)) == []
    assert queue.card("failed") == 75 and queue.card("complete") == 150


def test_what_node_leaves_when_a_running_job_is_removed_is_found(queue: Queue, node: Node) -> None:
    node.call("process", "email", [[["sleep", 300], ["return", 1]]], 1)
    job_id = node.call("create", "email", {}, {})
    wait_until(lambda: queue.active_count() == 1, 5)
    node.call("remove", job_id)
    wait_until(lambda: queue.card("complete", "email") == 1, 5)
    (found,) = doctor.examine(queue, fix=True, settle_s=0.2)
    assert found.job_id == job_id and "its hash has no type" in found.what and found.fixed
    assert list(doctor.examine(queue, settle_s=0.05)) == []


def test_retention_removes_what_node_workers_ended(queue: Queue, node: Node) -> None:
    queue.retain(complete=10)
    queue.process("other", lambda job: None)  # this process works, on something else
    node.call("process", "email", [[["return", 1]]], 10)
    node.call("createMany", [["email", {"title": f"welcome {n}"}, {}] for n in range(60)], timeout_s=30)
    wait_until(lambda: queue.counts()["complete"] == 10 and queue.counts()["inactive"] == 0, 15)
    wait_until(lambda: not list(doctor.examine(queue, settle_s=0.3, tokens_settle_s=2)), 10)
    assert len(queue.session.call(lambda client: client.keys("q:search:object:*"))) == 10
