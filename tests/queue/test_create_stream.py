"""Any number of jobs is saved in constant memory, as a generator yields them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import kue
import kue.aio
from kue.client.stream import BATCH_JOBS
from kue.concurrency import green
from tests.support.loops import run

COUNT = 3 * BATCH_JOBS + 7


def test_jobs_of_a_generator_are_saved_in_order_and_none_is_kept(queue: Any) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    def jobs() -> Iterator[Any]:
        nonlocal most
        for n in range(COUNT):
            job = queue.create("work", {"n": n}) if n % 2 else {"type": "work", "data": {"n": n}, "priority": "low"}
            if n % 2:
                alive.add(job)
                most = max(most, len(alive))
            yield job

    assert queue.create_stream(jobs()) == COUNT
    assert queue.counts()["inactive"] == COUNT
    assert [queue.get(number).data["n"] for number in (1, 2, COUNT)] == [0, 1, COUNT - 1]
    assert queue.get(1).options.priority == 10
    assert most <= BATCH_JOBS  # half of two batches
    assert queue.create_stream([]) == 0


def test_what_came_before_an_invalid_job_is_saved(queue: Any) -> None:
    jobs: list[Any] = [{"type": "work", "data": n} for n in range(BATCH_JOBS + 1)]
    with pytest.raises(kue.InvalidJob, match="type") as raised:
        queue.create_stream([*jobs, {"data": 1}, *jobs])
    assert raised.value.__notes__ == [f"At least {BATCH_JOBS:,} jobs were saved before."]
    assert queue.counts()["inactive"] == BATCH_JOBS


def test_an_exception_of_the_generator_is_raised(queue: Any) -> None:
    def rows() -> Iterator[Any]:
        yield {"type": "work"}
        raise OSError("the file ended early")

    with pytest.raises(OSError, match="the file ended early") as raised:
        queue.create_stream(rows())
    assert raised.value.__notes__ == ["At least 0 jobs were saved before."]
    assert queue.counts()["inactive"] == 0


@pytest.mark.parametrize("wrong", [{"type": "work"}, 7], ids=["one", "number"])
def test_it_takes_an_iterable(queue: Any, wrong: Any) -> None:
    with pytest.raises((kue.InvalidJob, TypeError), match="iterable"):
        queue.create_stream(wrong)


def test_test_mode_and_middleware_see_each_job(queue: Any) -> None:
    class Counted(kue.Middleware):
        seen = 0

        def create(self, job: Any, call_next: Any) -> Any:
            Counted.seen += 1
            return call_next(job)

    queue.use(Counted())
    queue.test_mode.enter()
    assert queue.create_stream({"type": "work", "data": n} for n in range(10)) == 10
    assert [job.data for job in queue.test_mode.jobs] == list(range(10)) and Counted.seen == 10


@pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")
def test_an_asynchronous_generator_and_other_tasks_take_turns(redis_url: str) -> None:
    async def rows() -> AsyncIterator[Any]:
        for n in range(COUNT):
            if n % 100 == 0:
                await asyncio.sleep(0)
            yield {"type": "work", "data": n}

    async def main() -> None:
        async with kue.aio.create_queue(redis_url) as queue:
            ticks = 0

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            assert await queue.create_stream(rows()) == COUNT
            assert await queue.create_stream({"type": "work"} for _ in range(10)) == 10
            ticking.cancel()
            assert ticks > 50
            assert (await queue.counts())["inactive"] == COUNT + 10
            assert (await queue.get(COUNT)).data == COUNT - 1

    run(main())
