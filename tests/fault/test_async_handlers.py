"""Redis is killed or frozen while async handlers run: the event loop continues, and each job ends once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import kue
from kue.concurrency import green
from kue.connection.connector import Connector
from tests.support import wait_until
from tests.support.servers.faulty_server import FaultyServer

pytestmark = pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")

LEASE_MS = 1500
LONGER_THAN_LEASE_S = 2.5
ANSWER_S = 1.0
HELD, WAITING = 20, 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyServer]:
    with FaultyServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    dedicated = Connector.dedicated
    monkeypatch.setattr(
        Connector, "dedicated", lambda self, answer_s=ANSWER_S: dedicated(self, min(answer_s or ANSWER_S, ANSWER_S))
    )


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_the_loop_continues_and_each_job_ends_once(server: FaultyServer, fault: str) -> None:
    with server.client() as client:
        client.flushall()
    queue = kue.create_queue(server.url, lease_ms=LEASE_MS)
    ran: Counter[int] = Counter()
    go_on, away = threading.Event(), threading.Event()
    ticks = 0

    @queue.process("work", HELD + 5)
    async def work(job: Any) -> str:
        nonlocal ticks
        ran[job.id] += 1
        if job.data["held"]:
            while not go_on.is_set():
                await asyncio.sleep(0.01)
                ticks += away.is_set()
            await job.log("still here")  # waits for Redis
            await job.progress(1, 2)
        if job.data["fail"] and job.attempts_made == 0:
            raise RuntimeError("once")
        return "done"

    try:
        jobs = [queue.create("work", {"held": True, "fail": n == 0}, attempts=2).save() for n in range(HELD)]
        wait_until(lambda: len(ran) == HELD, 15)
        jobs += queue.create_many([{"type": "work", "data": {"held": False, "fail": False}}] * WAITING)
        if fault == "kill":
            server.kill()
        else:
            server.freeze()
        away.set()
        time.sleep(LONGER_THAN_LEASE_S / 2)
        ticks_before = ticks
        go_on.set()
        time.sleep(LONGER_THAN_LEASE_S / 2)
        if fault == "kill":
            server.start()
        else:
            server.thaw()
        for job in jobs:
            assert job.wait(30) == "done"
        assert ticks_before > HELD * 5  # the loop was free meanwhile
        assert {job_id: count for job_id, count in ran.items() if count > 1} == {jobs[0].id: 2}  # it failed once
        assert [job.refresh().rescues for job in jobs] == [0] * len(jobs)
        assert set(queue.log(jobs[1].id)) == {"still here"}
    finally:
        go_on.set()
        queue.shutdown(5)
