"""Group commit on an event loop; saves that are cancelled or lose their reply never create a job twice."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
import kue.aio
from kue.async_client.producer import LANES
from tests.support.loops import on_loop, until
from tests.support.servers.faulty_server import FaultyServer
from tests.support.servers.proxy import Proxy


def calls_of_create(client: redis.Redis) -> int:
    stats: Any = client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {}).get("calls", 0))


@on_loop
async def test_what_many_tasks_save_at_once_goes_out_in_few_calls(redis_url: str, redis_client: redis.Redis) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        await queue.create("t").save()
        redis_client.config_resetstat()
        jobs = await asyncio.gather(*(queue.create("t", {"n": n}).save() for n in range(200)))
        assert calls_of_create(redis_client) == LANES
        assert sorted(job.id or 0 for job in jobs) == list(range(2, 202))
        for part in (jobs[:100], jobs[100:]):
            assert [job.id for job in part] == sorted(job.id or 0 for job in part)
        # A few are not worth several calls
        redis_client.config_resetstat()
        await asyncio.gather(*(queue.create("t", {"n": n}).save() for n in range(10)))
        assert calls_of_create(redis_client) == 1


@on_loop
async def test_more_jobs_than_one_call_takes(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        await asyncio.gather(*(queue.create_many([{"type": "t"}] * 400) for _ in range(6)))
        assert await queue.inactive_count() == 2400


@on_loop
async def test_tasks_that_save_while_others_are_cancelled_keep_their_jobs(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        saved: list[kue.aio.AsyncJob] = []
        given_up: list[kue.aio.AsyncJob] = []

        async def save(number: int) -> None:
            for turn in range(20):
                job = queue.create("t", {"n": [number, turn]})
                try:
                    async with asyncio.timeout(0.0004 if number % 2 else None):
                        saved.append(await job.save())
                except TimeoutError:
                    given_up.append(job)

        await asyncio.gather(*(save(number) for number in range(40)))
        # When those that were given up are saved again, each job is there once
        for job in given_up:
            saved.append(await job.save())
        assert given_up and len(saved) == 800
        found = await queue.get_many(await queue.ids("inactive"))
        assert sorted((job.id, job.data["n"]) for job in found) == sorted((job.id, job.data["n"]) for job in saved)


@asynccontextmanager
async def queue_behind_a_proxy(folder: Path) -> AsyncIterator[tuple[kue.aio.Queue, Proxy, FaultyServer]]:
    with FaultyServer(folder) as server, Proxy(server.port) as proxy:
        async with kue.aio.create_queue(proxy.url) as queue:
            yield queue, proxy, server


def creates(request: bytes) -> bool:
    return b"EVALSHA" in request or b"EVAL\r\n" in request


@on_loop
async def test_a_save_whose_answer_is_lost_is_repeated_and_creates_nothing_twice(tmp_path: Path) -> None:
    async with queue_behind_a_proxy(tmp_path) as (queue, proxy, _):
        await queue.create("t").save()
        proxy.swallow(creates)
        jobs = await asyncio.gather(*(queue.create("t", {"n": n}).save() for n in range(20)))
        assert proxy.swallowed.is_set()
        assert sorted(job.id or 0 for job in jobs) == list(range(2, 22)) == (await queue.ids("inactive"))[1:]


@on_loop
async def test_a_save_that_is_cancelled_in_mid_call_is_found_by_the_next_try(tmp_path: Path) -> None:
    async with queue_behind_a_proxy(tmp_path) as (queue, _, server):
        await queue.create("t").save()
        # Given saves that stand in a call which the server does not answer
        server.freeze()
        jobs = [queue.create("t", {"n": n}) for n in range(10)]
        tasks = [asyncio.create_task(job.save()) for job in jobs]
        await until(lambda: queue._store.producer._senders)
        await asyncio.sleep(0.05)
        # When all are cancelled, and saved again at once, while the first call is still under way
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended)
        again = [asyncio.create_task(job.save()) for job in jobs]
        await asyncio.sleep(0.05)
        server.thaw()
        await asyncio.gather(*again)
        # Then each is there once, and the connections serve others
        assert [job.id for job in jobs] == list(range(2, 12))
        assert await queue.inactive_count() == 11
        assert [each.data for each in await queue.get_many([2, 3])] == [{"n": 0}, {"n": 1}]


@on_loop
async def test_unique_jobs_and_flows_that_are_cancelled_in_mid_call_are_found_by_the_next_try(tmp_path: Path) -> None:
    with FaultyServer(tmp_path) as server:
        queue = kue.aio.create_queue(server.url)
        # Given a server that knows the scripts
        await queue.create("w").unique().save()
        await queue.create("w").after(queue.create("w")).save()
        unique = queue.create("t").unique("one", on_duplicate="reject")
        children = [queue.create("t", {"n": n}) for n in range(3)]
        parent = queue.create("t").after(children)
        # And saves that it has received and not answered
        server.freeze()
        tasks = [asyncio.create_task(job.save()) for job in (unique, parent)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # When they are saved again
        again = [asyncio.create_task(job.save()) for job in (unique, parent)]
        await asyncio.sleep(0.05)
        server.thaw()
        await asyncio.gather(*again)
        # Then each is there once
        assert not unique.duplicate and await queue.count_of() == 8
        assert {unique.id, parent.id, *(child.id for child in children)} == {4, 5, 6, 7, 8}
        with pytest.raises(kue.DuplicateJob):
            await queue.create("t").unique("one", on_duplicate="reject").save()
        await queue.close()


@on_loop
async def test_saves_of_an_unreachable_redis_fail_in_time_and_are_safe_to_repeat(tmp_path: Path) -> None:
    async with queue_behind_a_proxy(tmp_path) as (queue, _, server):
        await queue.create("t").save()
        server.kill()
        jobs = [queue.create("t", {"n": n}) for n in range(50)]
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        results = await asyncio.gather(*(job.save() for job in jobs), return_exceptions=True)
        assert all(isinstance(each, kue.QueueUnavailable) for each in results)
        assert "safe" in str(results[0]) and loop.time() - began_at < 8
        await asyncio.to_thread(server.start)
        await asyncio.gather(*(job.save() for job in jobs))
        assert sorted(job.id or 0 for job in jobs) == list(range(2, 52))
        assert await queue.inactive_count() == 51


@on_loop
async def test_closing_lets_the_saves_under_way_end(redis_url: str) -> None:
    queue = kue.aio.create_queue(redis_url)
    tasks = [asyncio.create_task(queue.create("t").save()) for _ in range(100)]
    await asyncio.sleep(0)
    await queue.close()
    assert sorted(job.id or 0 for job in await asyncio.gather(*tasks)) == list(range(1, 101))


@on_loop
async def test_without_a_redis_it_raises_the_same_short_error(nothing_on_the_usual_port: None) -> None:
    sync, queue = kue.create_queue(), kue.aio.create_queue()
    with pytest.raises(kue.QueueUnavailable) as expected:
        sync.counts()
    told = await asyncio.gather(queue.counts(), queue.create("t").save(), return_exceptions=True)
    assert str(told[0]) == str(expected.value) and "embedded://" in str(told[0]) and "safe" in str(told[1])
    for error in told:
        assert isinstance(error, kue.QueueUnavailable)
        assert len(traceback.extract_tb(error.__traceback__)) <= 3
    await queue.close()
    sync.close()
