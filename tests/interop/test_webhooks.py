"""Webhooks beside Node Kue: what its workers do is told once too, and it leaves the keys alone."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
from kue import doctor
from kue.webhooks.node_events import NodeEvents
from tests.interop.harness.node import Node
from tests.support import wait_until
from tests.support.programs import environment
from tests.webhooks.receiver import Receiver


@pytest.fixture
def node(redis_url: str) -> Iterator[Node]:
    node = Node().open(redis_url)
    yield node
    node.close()


def test_what_workers_of_both_kinds_do_is_told_once(
    queue: kue.Queue, node: Node, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUE_WEBHOOK_ALLOW", "127.0.0.1")
    listeners = [NodeEvents(queue.session, queue.subscribe) for _ in range(3)]  # as many processes with the page
    with Receiver() as receiver:
        queue.webhook(["complete", "failed", "failed attempt"], receiver.url(), name="w")
        for each in listeners:
            each.start()
        wait_until(lambda: all(each._wanted for each in listeners), 10)

        def work(job: Any) -> None:
            if job.data["fails"]:
                raise ValueError("ours")

        queue.process("ours", 3, work)
        node.call("process", "theirs", None)  # does as the data of the job says
        plans = [[["fail", "theirs"]]], [[["return", 1]]]
        made = queue.create_many(
            {"type": kind, "data": {"fails": n < 3, "plan": plans[n // 3]}, "attempts": 2}
            for kind in ("ours", "theirs")
            for n in range(6)
        )
        wait_until(lambda: queue.complete_count() == 6 and queue.failed_count() == 6, 30)
        wait_until(lambda: len(receiver.received) >= 18, 20)
        wait_until(lambda: not any(each._heard for each in listeners), 10)
        wait_until(lambda: queue.webhook_backlog()["waiting"] == 0 == queue.active_count("webhook-delivery"), 10)
        told = Counter((each.json["data"]["id"], each.json["type"]) for each in receiver.received)
        expected: Counter[tuple[Any, str]] = Counter()
        for job in made:
            names = ["job.failed_attempt", "job.failed"] if job.data["fails"] else ["job.complete"]
            expected.update((job.id, name) for name in names)
        assert told == expected
        for each in listeners:
            each.stop()
    # Node removes a job, and leaves the rest as it is
    before = {key for key in redis_client.scan_iter("q:webhook*")}
    node.call("remove", made[0].id)
    assert {key for key in redis_client.scan_iter("q:webhook*")} == before
    assert list(doctor.examine(queue, settle_s=0.1, tokens_settle_s=0.5)) == []


def test_a_worker_tells_of_nodes_jobs_where_there_is_no_page(
    queue: kue.Queue, node: Node, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "ours.py").write_text("import kue\nqueue = kue.create_queue()\nqueue.process('ours', 1, print)\n")
    words = [sys.executable, "-m", "kue", "worker", "ours:queue", "--node-events"]
    environ = environment({"REDIS_URL": redis_url, "KUE_WEBHOOK_ALLOW": "127.0.0.1"})
    with Receiver() as receiver, subprocess.Popen(words, cwd=tmp_path, env=environ) as worker:
        try:
            queue.webhook(["complete"], receiver.url(), name="w")
            node.call("process", "theirs", None)

            def is_told() -> bool:
                """Let Node complete a job; what it completes before the worker listens is not told."""
                queue.create("theirs", {"plan": [[["return", 1]]]}).save().wait(10)
                return bool(receiver.received)

            wait_until(is_told, 20, interval=0.2)
            assert receiver.received[0].json["data"]["type"] == "theirs"
        finally:
            worker.terminate()
