"""``await task.acreate(…)``: jobs of tasks created on an event loop, through kue.aio."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import kue
import kue.aio
from kue.concurrency import green
from kue.testing import collected
from tests.support.loops import run

pytestmark = pytest.mark.skipif(green.enabled(), reason="a process patched by eventlet has no event loop of asyncio")


def resize_on(queue: Any) -> Any:
    @queue.task(attempts=3)
    def resize(url: str, width: int = 800) -> list[str]:
        return [url, str(width)]

    return resize


def test_a_job_is_created_checked_and_awaited(queue: kue.Queue) -> None:
    resize = resize_on(queue)
    queue.work()

    async def main() -> None:
        job = await resize.acreate("u", width=5)
        assert isinstance(job, kue.aio.AsyncTypedJob)
        assert (job.id, job.data, job.options.attempts) == (1, {"url": "u", "width": 5}, 3)
        assert await job.wait(10) == ["u", "5"]
        jobs = await asyncio.gather(*(resize.acreate(str(number)) for number in range(50)))
        assert sorted(each.id for each in jobs) == list(range(2, 52))
        with pytest.raises(kue.InvalidJob, match='task "resize": parameter "url": expected str, got int'):
            await resize.acreate(5)

    run(main())
    # Then the connections of that loop were closed with it (or their end would be a warning), and another may follow
    gc.collect()
    run(main_again(resize))


async def main_again(resize: Any) -> None:
    assert await (await resize.acreate("again")).wait(10) == ["again", "800"]


def test_several_event_loops_create_jobs_at_once(queue: kue.Queue) -> None:
    resize = resize_on(queue)

    async def main() -> None:
        await asyncio.gather(*(resize.acreate("u") for _ in range(20)))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert queue.card("inactive") == 80


def test_a_task_of_an_asyncio_queue_is_saved_by_it(redis_url: str) -> None:
    async def main() -> None:
        async with kue.aio.create_queue(redis_url) as queue:
            resize = resize_on(queue)
            assert list(queue.tasks) == ["resize"]
            queue.work()
            job = await resize.acreate("u")
            assert job.queue is queue and await job.wait(10) == ["u", "800"]

    run(main())


def test_the_embedded_server_of_the_queue_outlives_the_loop(tmp_path: Path) -> None:
    with kue.create_queue(f"embedded://{tmp_path}") as queue:
        resize = resize_on(queue)
        queue.work()
        for _ in range(2):
            run(main_again(resize))
        assert queue.card("complete") == 2


def test_the_job_of_kue_aio_is_the_running_one(queue: kue.Queue) -> None:
    @queue.task()
    async def logged(job: kue.aio.AsyncJob, text: str) -> None:
        await job.log(text)

    queue.work()

    async def main() -> None:
        await (await logged.acreate("hello")).wait(10)

    run(main())
    assert queue.log(1) == ["hello"]


def test_jobs_are_collected_in_test_mode_and_go_through_acreate(queue: kue.Queue) -> None:
    class Tenant(kue.Middleware):
        def create(self, job: kue.Job, call_next: Callable[[kue.Job], None]) -> None:
            raise AssertionError("for other jobs")

        async def acreate(self, job: Any, call_next: Callable[[Any], Any]) -> None:
            await asyncio.sleep(0)
            if job.data["url"] == "refused":
                raise PermissionError("no")
            job.data["tenant"] = "acme"
            await call_next(job)
            assert job.id is not None

    queue.use(Tenant())
    resize = resize_on(queue)

    async def main() -> None:
        with pytest.raises(PermissionError):
            await resize.acreate("refused")
        with collected(queue) as jobs:
            await resize.acreate("u")
        assert [job.data for job in jobs] == [{"url": "u", "tenant": "acme"}]
        assert (await resize.acreate("v")).id == 1
        async with kue.aio.create_queue(queue.session.connector._source) as other:
            other.use(Tenant())
            made = await other.create_many([{"type": "t", "data": {"url": "w"}}])
            assert made[0].data["tenant"] == "acme"

    run(main())
    assert [job.data for job in queue.get_many([1, 2]) if job] == [
        {"url": "v", "tenant": "acme"}, {"url": "w", "tenant": "acme"},
    ]  # fmt: skip
