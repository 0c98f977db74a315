"""The jobs of async handlers reach the queue's Redis on the event loop, whatever the queue was given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
import kue.aio
from kue.concurrency import green
from tests.support.loops import run

pytestmark = pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")

LIMIT_S = 20


async def work(job: Any) -> Any:
    await job.log("step %d", 1)
    await asyncio.gather(*(job.queue.create("other", n).save() for n in range(20)))
    return [type(job.queue).__module__, job.queue.prefix, await job.queue.inactive_count("other")]


@pytest.mark.parametrize("source", [str, redis.Redis.from_url, lambda url: lambda: redis.Redis.from_url(url)])
def test_the_handlers_queue_is_like_its_own(redis_url: str, source: Callable[[str], Any]) -> None:
    with kue.create_queue(source(redis_url), "mine") as queue:
        queue.process("work", work)
        job = queue.create("work").save()
        assert job.wait(LIMIT_S) == ["kue.aio.queue", "mine", 20]
        assert queue.log(job.id) == ["step 1"]


def test_an_embedded_server_outlives_the_handlers(tmp_path: Path) -> None:
    with kue.create_queue(f"embedded://{tmp_path}") as queue:
        queue.process("work", work)
        queue.create("work").save().wait(LIMIT_S)
        queue.shutdown(2)
        assert queue.counts()["complete"] == 1


def test_the_queue_of_asyncio_runs_handlers_on_a_loop_of_the_workers(redis_url: str) -> None:
    async def main() -> None:
        async with kue.aio.create_queue(redis_url) as queue:
            loops = [asyncio.get_running_loop()]

            @queue.process("work")
            async def work(job: Any) -> str:
                loops.append(asyncio.get_running_loop())
                child = await job.queue.create("child", "hello").save()
                return f"child said {await child.wait(LIMIT_S)}"

            @queue.process("child")
            def child(job: Any) -> Any:
                return job.data

            job = await queue.create("work").save()
            assert await job.wait(LIMIT_S) == "child said hello"
            assert loops[0] is not loops[1]

    run(main())


def test_what_a_handler_sets_is_what_its_attempt_ends_with(redis_url: str) -> None:
    with kue.create_queue(redis_url) as queue:

        @queue.process("work")
        async def work(job: Any) -> None:
            job.data["seen"] = job.attempts_made
            await job.save()
            raise kue.RetryLater(10, "once more") if not job.attempts_made else kue.UnrecoverableError("enough")

        job = queue.create("work", {}, attempts=5).save()
        with pytest.raises(kue.JobFailed, match="enough"):
            job.wait(LIMIT_S)
        assert job.refresh().data == {"seen": 1}
