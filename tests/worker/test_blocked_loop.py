"""An async handler that blocks the event loop is stopped when it has lost its job, and the others complete."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

import kue
from kue.concurrency import green
from kue.worker.executors import blocked_loop, event_loop
from tests.support import wait_until

pytestmark = pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")

LIMIT_S, INNOCENT = 20, 20


class Innocents:
    """Jobs that run beside a guilty one: each waits until ``go_on`` is set."""

    def __init__(self, queue: Any) -> None:
        self.ran: Counter[int] = Counter()
        self.go_on = threading.Event()

        @queue.process("innocent", concurrency=INNOCENT)
        async def innocent(job: Any) -> str:
            self.ran[job.id] += 1
            while not self.go_on.is_set():
                await asyncio.sleep(0.01)
            await job.log("went on")
            return "done"

        self.jobs = queue.create_many([{"type": "innocent", "attempts": 2}] * INNOCENT)
        wait_until(lambda: len(self.ran) == INNOCENT, LIMIT_S)

    def complete(self, runs: int) -> None:
        """Each completes with both attempts left, and none has run more than ``runs`` times."""
        self.go_on.set()
        assert [job.wait(LIMIT_S) for job in self.jobs] == ["done"] * INNOCENT
        assert {job.refresh().attempts_made for job in self.jobs} == {1}
        assert set(self.ran.values()) == {runs}


def test_a_handler_that_computes_forever_is_stopped_after_its_ttl_and_may_clean_up(queue: Any) -> None:
    cleaned: list[str] = []

    @queue.process("guilty", concurrency=2)
    async def guilty(job: Any) -> None:
        try:
            while True:
                pass
        finally:
            await asyncio.sleep(0.05)
            cleaned.append("after an await")

    innocents = Innocents(queue)
    with pytest.raises(kue.JobFailed, match="TTL"):
        queue.create("guilty").ttl(100).save().wait(LIMIT_S)
    wait_until(lambda: cleaned, LIMIT_S)
    innocents.complete(runs=1)
    assert queue.create("innocent").save().wait(LIMIT_S) == "done"


def test_a_task_of_a_handler_that_computes_forever_is_stopped(queue: Any) -> None:
    @queue.process("guilty")
    async def guilty(job: Any) -> None:
        async def endless() -> None:
            while True:
                pass

        await asyncio.create_task(endless())

    innocents = Innocents(queue)
    job = queue.create("guilty").save()
    wait_until(lambda: job.refresh().state == "active", LIMIT_S)
    queue.get(job.id).cancel()
    innocents.complete(runs=1)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["in C", "swallowing"])
def test_a_loop_that_cannot_be_unblocked_is_abandoned(queue: Any, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocked_loop, "GRACE_S", 0.1)
    monkeypatch.setattr(blocked_loop, "ABANDON_S", 0.5)
    end, loops = threading.Event(), []

    @queue.process("guilty", concurrency=2)
    async def guilty(job: Any) -> None:
        loops.append(event_loop._shared)
        if how == "in C":
            end.wait(LIMIT_S)
        while not end.is_set():
            try:
                while not end.is_set():
                    pass
            except BaseException:
                pass

    innocents = Innocents(queue)
    try:
        with pytest.raises(kue.JobFailed, match="TTL"):
            queue.create("guilty").ttl(100).save().wait(LIMIT_S)
        wait_until(lambda: set(innocents.ran.values()) == {2}, LIMIT_S)
        innocents.complete(runs=2)
        logs = ["".join(queue.log(job.id)) for job in innocents.jobs]
        assert all("another async handler blocked its event loop" in log for log in logs)
    finally:
        end.set()
    wait_until(lambda: loops[0].loop.is_closed(), LIMIT_S)
    assert queue.create("innocent").save().wait(LIMIT_S) == "done"
