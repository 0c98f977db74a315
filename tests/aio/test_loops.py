"""The event loop that a queue belongs to is never blocked."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import kue
import kue.aio
from kue.client.job_store import TURN_JOBS
from kue.concurrency import bridge
from kue.connection import locate
from kue.testing import NOWHERE, collected
from tests.support.loops import on_loop, run


def test_two_loops_one_after_the_other(redis_url: str) -> None:
    queue = kue.aio.create_queue(redis_url)

    async def save() -> int:
        try:
            job = await queue.create("t").save()
            async with queue.events() as events:
                await queue.create("other").save()
                assert (await anext(events)).event == "enqueue"
            return int(job.id or 0)
        finally:
            await queue.close()

    assert [run(save()) for _ in range(3)] == [1, 3, 5]


def test_another_loop_is_refused_with_a_sentence(redis_url: str) -> None:
    queue = kue.aio.create_queue(redis_url)

    async def elsewhere() -> None:
        calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
            queue.counts, queue.create("t").save, lambda: anext(queue.events()), queue.close,
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(kue.KueError, match="another event loop: close it there with `await queue.close"):
                await call()

    async def here() -> None:
        await queue.counts()
        await asyncio.to_thread(asyncio.run, elsewhere())
        await queue.counts()
        await queue.close()

    run(here())


def test_a_queue_that_was_never_used_closes_anywhere(redis_url: str) -> None:
    queue = kue.aio.create_queue(redis_url)
    run(queue.close())
    run(queue.shutdown())


def test_a_process_patched_by_eventlet_is_told_what_to_do(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = kue.aio.create_queue(redis_url)
    monkeypatch.setattr("kue.concurrency.green.enabled", lambda: True)
    with pytest.raises(kue.KueError, match="patched by eventlet.*kue.create_queue"):
        run(queue.counts())


@on_loop
async def test_a_child_process_has_a_loop_of_its_own(redis_url: str) -> None:
    # Given a queue with connections, and a child that is forked
    queue = kue.aio.create_queue(redis_url)
    await queue.create("t").save()
    async with queue.events() as events:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                run(_save_and_close(queue))
                code = 0
            finally:
                os._exit(code)
        # Then both use it
        assert (await anext(events)).id == 2
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
        assert (await queue.create("t").save()).id == 3
    await queue.close()


async def _save_and_close(queue: kue.aio.Queue) -> None:
    await queue.create("t").save()
    await queue.close()


@on_loop
async def test_the_embedded_server_starts_without_blocking_the_loop(tmp_path: Path) -> None:
    longest, last, ended = 0.0, time.monotonic(), asyncio.Event()

    async def watch() -> None:
        nonlocal longest, last
        while not ended.is_set():
            await asyncio.sleep(0.002)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    watching = asyncio.create_task(watch())
    began_at = time.monotonic()
    async with kue.aio.create_queue(f"embedded://{tmp_path}/data") as queue:
        queue.process("t", lambda job: "done")
        assert await (await queue.create("t").save()).wait(20) == "done"
        took = time.monotonic() - began_at
    ended.set()
    await watching
    assert longest < max(0.5, took / 2)


@on_loop
async def test_a_redis_that_is_found_late(
    nothing_on_the_usual_port: None, late_server: Callable[[int], object]
) -> None:
    queue = kue.aio.create_queue()
    saving = asyncio.create_task(queue.create("t").save())
    await asyncio.to_thread(late_server, locate.USUAL_PORT)
    try:
        await saving
    except kue.QueueUnavailable:
        pass
    assert (await queue.create("t").save()).id
    await queue.close()


@on_loop
async def test_many_jobs_are_prepared_without_blocking_the_loop() -> None:
    queue = kue.aio.create_queue(NOWHERE)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    with collected(queue) as jobs:
        await queue.create_many({"type": "t", "data": {"n": n}} for n in range(5000))
        assert len(jobs) == 5000 and turns >= 5000 // TURN_JOBS - 2
    counting.cancel()
    await queue.close()


# The bridge


@on_loop
async def test_what_runs_on_the_bridge_has_the_callers_context_and_errors() -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default=0)
    variable.set(1)

    def inner() -> int:
        bridge.sleep(0.001)
        variable.set(variable.get() + 1)
        raise LookupError("inner")

    with pytest.raises(LookupError, match="inner"):
        await bridge.run(inner)
    assert variable.get() == 2
    with pytest.raises(RuntimeError, match="bridge.run"):
        bridge.wait(asyncio.sleep(0))


@on_loop
async def test_a_cancellation_is_raised_where_the_code_waits_and_cleaning_up_may_wait() -> None:
    steps: list[str] = []

    def work() -> None:
        try:
            bridge.sleep(60)
        except asyncio.CancelledError:
            steps.append("cancelled")
            raise
        finally:
            bridge.sleep(0.001)
            steps.append("cleaned")

    task = asyncio.create_task(bridge.run(work))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cancelled", "cleaned"]


def test_what_waits_when_its_loop_goes_ends() -> None:
    steps: list[str] = []

    def work() -> None:
        try:
            bridge.wait(asyncio.get_running_loop().create_future())
        finally:
            steps.append("ended")
            bridge.sleep(5)
            steps.append("never")

    async def leave() -> None:
        waiting = bridge.run(work)
        waiting.send(None)
        waiting.close()

    run(leave())
    assert steps == ["ended"]
