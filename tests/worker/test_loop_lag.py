"""A handler that blocks the event loop is logged while it does; the lag is measured and published."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from typing import Any

import pytest

from kue.concurrency import green
from kue.worker.executors import event_loop, loop_lag
from tests.support import wait_until

pytestmark = pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")

LIMIT_S = 15


def blocking_part() -> None:
    time.sleep(0.4)


def named(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "block" in record.getMessage()]


def test_a_handler_that_blocks_the_loop_is_named_once_with_its_stack_and_then_its_time(
    queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "kue.worker")

    @queue.process("mail", concurrency=3)
    async def mail(job: Any) -> None:
        await asyncio.sleep(0.01)
        if job.data:
            blocking_part()
        await asyncio.sleep(0.01)

    for data in (0, 0, 1):
        job = queue.create("mail", data).save()
        job.wait(LIMIT_S)
    wait_until(lambda: len(named(caplog)) >= 2, LIMIT_S)
    first, last, *more = named(caplog)
    assert first.startswith(f"Job {job.id} (mail) has been blocking the event loop and all other async handlers")
    assert "in blocking_part\n    time.sleep(0.4)" in first and "in mail\n    blocking_part()" in first
    assert "kue/worker" not in first and "asyncio/" not in first
    found = re.fullmatch(rf"Job {job.id} \(mail\) blocked the event loop for (\d\.\d) s", last)
    assert found is not None and 0.3 <= float(found[1]) < 2
    assert more == []
    assert event_loop.lag_ms() >= 350  # type: ignore[operator]


def test_a_task_that_a_handler_has_started_is_named_as_its_job(queue: Any, caplog: pytest.LogCaptureFixture) -> None:
    @queue.process("mail")
    async def mail(job: Any) -> None:
        async def part() -> None:
            blocking_part()

        async with asyncio.TaskGroup() as group:
            group.create_task(part())

    job = queue.create("mail").save()
    job.wait(LIMIT_S)
    wait_until(lambda: len(named(caplog)) >= 2, LIMIT_S)
    assert all(text.startswith(f"Job {job.id} (mail) ") for text in named(caplog))


def test_each_block_is_logged_and_short_steps_are_not(queue: Any, caplog: pytest.LogCaptureFixture) -> None:
    @queue.process("mail")
    async def mail(job: Any) -> None:
        for _ in range(20):
            time.sleep(0.02)  # together longer than the limit
            await asyncio.sleep(0)
        for _ in range(2):
            blocking_part()
            await asyncio.sleep(0.1)

    job = queue.create("mail").save()
    job.wait(LIMIT_S)
    wait_until(lambda: len(named(caplog)) >= 4, LIMIT_S)
    logged = [text for text in named(caplog) if "time.sleep(0.02)" not in text]
    words = ["blocking" if "has been blocking" in text else "blocked" for text in logged]
    assert words[:4] == ["blocking", "blocked", "blocking", "blocked"]


def test_the_watchdog_sleeps_while_there_are_no_tasks(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = loop_lag.Watchdog._look

    def counted(self: Any, now: float) -> None:
        looks.append(now)
        look(self, now)

    monkeypatch.setattr(loop_lag.Watchdog, "_look", counted)
    go_on = threading.Event()

    @queue.process("mail")
    async def mail(job: Any) -> None:
        while not go_on.is_set():
            await asyncio.sleep(0.01)

    job = queue.create("mail").save()
    wait_until(lambda: len(looks) > 3, LIMIT_S)
    go_on.set()
    job.wait(LIMIT_S)
    wait_until(lambda: time.monotonic() - looks[-1] > 5 * loop_lag.LOOK_S, LIMIT_S)


def test_the_lag_of_a_loop_that_is_blocked_grows_before_it_continues() -> None:
    selector = loop_lag.TimedSelector()
    try:
        selector.select(0)
        before = selector.lag_s()
        wait_until(lambda: selector.lag_s() > before + 0.05, LIMIT_S)
        selector.select(0)
        assert selector.lag_s() > 0.05
    finally:
        selector.close()


def test_the_lag_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(loop_lag.time, "monotonic", lambda: now)
    selector = loop_lag.TimedSelector()
    try:
        selector.select(0)
        now += 2.0
        selector.select(0)
        for _ in range(14):
            now += 1.0
            selector.ran_at = now
            selector.select(0)
            assert selector.lag_s() == 2.0
        for _ in range(8):
            now += 1.0
            selector.ran_at = now
            selector.select(0)
        assert selector.lag_s() == 0.0
    finally:
        selector.close()


def test_the_lag_is_in_the_workers_entry_if_it_has_async_handlers(queue: Any) -> None:
    queue.process("sync", lambda job: None)
    wait_until(queue.workers, LIMIT_S)
    assert queue.workers()[0]["loop_lag_ms"] is None

    @queue.process("mail")
    async def mail(job: Any) -> None: ...

    queue.create("mail").save().wait(LIMIT_S)
    queue.concurrency("mail", 2)  # registers again
    wait_until(lambda: queue.workers()[0]["loop_lag_ms"] is not None, LIMIT_S)
    assert queue.workers()[0]["loop_lag_ms"] >= 0
