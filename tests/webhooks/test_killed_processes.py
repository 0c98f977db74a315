"""Workers that are killed while they deliver: no event is lost, and one that comes twice has the same id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import kue
from tests.support import ROOT, wait_until
from tests.webhooks.receiver import Receiver

WORKER = """
import sys, time
import kue
queue = kue.create_queue(sys.argv[1], lease_ms=2000)
queue.process("t", 5, lambda job: job.id)
print("ready", flush=True)
time.sleep(60)
"""
JOBS = 60


@pytest.fixture
def workers(redis_url: str) -> Iterator[list[subprocess.Popen[str]]]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "KUE_WEBHOOK_ALLOW": "127.0.0.1"}
    begin: Any = [sys.executable, "-c", WORKER, redis_url]
    started = [subprocess.Popen(begin, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for each in started:
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    yield started
    for each in started:
        each.kill()
        each.communicate()


@pytest.mark.slow
def test_killed_workers_lose_no_event_and_tell_none_under_two_ids(
    redis_url: str, workers: list[subprocess.Popen[str]]
) -> None:
    with Receiver() as receiver, kue.create_queue(redis_url, lease_ms=2000) as queue:
        made = queue.webhook(["complete"], receiver.url(), name="w")
        jobs = queue.create_many([{"type": "t"} for _ in range(JOBS)])
        for victim, at in zip(workers[:2], (JOBS // 6, JOBS // 2), strict=True):
            wait_until(lambda at=at: len(receiver.received) >= at, 30)
            victim.send_signal(signal.SIGKILL)
        wait_until(lambda: {each.json["data"]["id"] for each in receiver.received} == {job.id for job in jobs}, 30)
        wait_until(lambda: sum(queue.counts_by_type()["webhook-delivery"].values()) == 0, 30)
        ids: dict[Any, set[str]] = {}
        for each in receiver.received:
            each.verified(made.secret or "")
            ids.setdefault(each.json["data"]["id"], set()).add(each.message)
        assert all(len(each) == 1 for each in ids.values()) and len(set.union(*ids.values())) == JOBS
        assert queue.webhook_backlog() == {"waiting": 0, "lost": 0}
