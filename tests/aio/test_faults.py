"""Connections that are killed, cut, dropped or frozen, and tasks that are cancelled in mid-call, many at once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
import kue.aio
from kue.async_client.connection import liveness
from tests.support.loops import on_loop, until
from tests.support.servers.faulty_server import FaultyServer
from tests.support.servers.proxy import Proxy

#: A call that is made again on a new connection takes little over liveness.LATE_S.
SOON_S = 4.0


@asynccontextmanager
async def queue_behind_a_proxy(
    folder: Path, options: str = ""
) -> AsyncIterator[tuple[kue.aio.Queue, Proxy, FaultyServer]]:
    with FaultyServer(folder) as server, Proxy(server.port) as proxy:
        queue = kue.aio.create_queue(proxy.url + options)
        try:
            yield queue, proxy, server
        finally:
            proxy.unblock()
            await queue.close()


@on_loop
async def test_calls_continue_after_every_connection_was_killed(redis_url: str, redis_client: redis.Redis) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        job = await queue.create("t", {"n": 1}).save()
        for _ in range(5):
            for connection in redis_client.client_list():
                if connection["id"] != str(redis_client.client_id()):
                    redis_client.client_kill_filter(connection["id"])
            assert (await job.refresh()).data == {"n": 1}
            await queue.create("t").save()
        assert await queue.inactive_count() == 6


@on_loop
async def test_a_cancelled_call_leaves_no_answer_behind_for_the_next(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        jobs = await queue.create_many([{"type": "t", "data": {"n": n}} for n in range(50)])
        chance = random.Random(5)
        cancelled = 0

        async def ask(number: int) -> None:
            nonlocal cancelled
            for turn in range(40):
                wanted = jobs[(number * 7 + turn) % 50]
                calls: list[Callable[[], Awaitable[Any]]] = [
                    lambda wanted=wanted: queue.get(wanted.id), lambda: queue.counts(),
                    lambda wanted=wanted: queue.fields([wanted.id], ["data"]),
                ]  # fmt: skip
                try:
                    async with asyncio.timeout(chance.random() * 0.01):
                        await calls[turn % 3]()
                except TimeoutError:
                    cancelled += 1
                assert (await queue.get(wanted.id or 0)).data == wanted.data
                assert await queue.inactive_count() == 50

        await asyncio.gather(*(ask(number) for number in range(10)))
        assert cancelled > 20


@on_loop
async def test_a_frozen_server_blocks_no_other_task(tmp_path: Path) -> None:
    async with queue_behind_a_proxy(tmp_path, "?socket_timeout=1") as (queue, _, server):
        await queue.counts()
        server.freeze()
        try:
            call = asyncio.create_task(queue.counts())
            longest, last = 0.0, time.monotonic()
            while not call.done():
                await asyncio.sleep(0.005)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            with pytest.raises(kue.QueueUnavailable, match="unreachable"):
                await call
            assert longest < 1.0
        finally:
            server.thaw()
        assert await queue.counts()


@on_loop
async def test_an_outage_is_told_to_error_handlers_once_and_ends(tmp_path: Path) -> None:
    async with queue_behind_a_proxy(tmp_path) as (queue, _, server):
        told: list[BaseException] = []
        await queue.on("error", told.append)
        async with queue.events() as events:
            server.kill()
            await until(lambda: told, 10)
            await asyncio.to_thread(server.start)
            assert (await anext(events)).event == "resync"
        assert len(told) == 1


CALLS: dict[str, Callable[[Any, Any], Awaitable[object]]] = {
    "save": lambda queue, job: queue.create("other").save(),
    "create_many": lambda queue, job: queue.create_many([{"type": "other"}] * 300),
    "get": lambda queue, job: queue.get(job.id),
    "log": lambda queue, job: job.log("a line"),
}


@pytest.mark.parametrize("idle_s", [0.0, 0.4], ids=["just-used", "idle"])
def test_calls_on_forgotten_connections_succeed_on_new_ones(
    tmp_path: Path, idle_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "IDLE_S", 0.2)

    @on_loop
    async def test() -> None:
        async with queue_behind_a_proxy(tmp_path) as (queue, proxy, _):
            job = await queue.create("waiting").save()
            await job.refresh()
            await asyncio.sleep(idle_s)
            proxy.stall()
            began_at = time.monotonic()
            await asyncio.gather(*(call(queue, job) for call in CALLS.values()))
            assert time.monotonic() - began_at < SOON_S
            assert await queue.inactive_count() == 302

    test()


def test_a_subscription_finds_itself_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kue.async_client.connection.subscription.POLL_S", 0.1)

    @on_loop
    async def test() -> None:
        async with queue_behind_a_proxy(tmp_path) as (queue, proxy, _):
            async with queue.events() as events:
                proxy.stall()
                assert (await anext(events)).event == "resync"
                job = await queue.create("a").save()
                assert repr(await anext(events)) == f"Event(id={job.id}, event='enqueue', args=['a'])"

    test()


@pytest.mark.slow
@on_loop
async def test_connections_that_are_cut_all_the_time_lose_nothing(tmp_path: Path) -> None:
    async with queue_behind_a_proxy(tmp_path) as (queue, proxy, _):
        jobs: list[kue.aio.AsyncJob] = []
        ended = asyncio.Event()

        async def cut() -> None:
            while not ended.is_set():
                await asyncio.sleep(0.03)
                proxy.cut()

        async def save(number: int) -> None:
            for turn in range(20):
                job = queue.create("t", {"n": [number, turn]})
                while job.id is None:
                    try:
                        jobs.append(await job.save())
                    except kue.QueueUnavailable:
                        continue

        cutting = asyncio.create_task(cut())
        await asyncio.gather(*(save(number) for number in range(10)))
        ended.set()
        await cutting
        found = await queue.get_many(await queue.ids("inactive"))
        assert sorted((job.id, job.data["n"]) for job in found) == sorted((job.id, job.data["n"]) for job in jobs)
        assert len(found) == 200


@on_loop
async def test_a_thousand_tasks_at_once_share_few_connections(redis_url: str, redis_client: redis.Redis) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        queue.process("t", 50, lambda job: job.data["n"])

        async def one(number: int) -> Any:
            job = await queue.create("t", {"n": number}).save()
            return await job.wait(50)

        before = int(redis_client.info("clients")["connected_clients"])
        assert await asyncio.gather(*(one(number) for number in range(1000))) == list(range(1000))
        assert int(redis_client.info("clients")["connected_clients"]) - before < 60
