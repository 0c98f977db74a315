"""Tasks of coroutine functions, on the event loop of their process, and middleware around them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import kue
from kue.concurrency import green
from tests.support.loops import run

pytestmark = pytest.mark.skipif(green.enabled(), reason="a process patched by eventlet runs no async handlers")


def test_an_async_task_is_awaited_and_its_result_is_of_the_declared_type(queue: kue.Queue) -> None:
    @queue.task(concurrency=10)
    async def nap(length: timedelta) -> timedelta:
        await asyncio.sleep(length.total_seconds())
        return length * 2

    # A call is a call of the coroutine function
    assert run(nap(timedelta(0))) == timedelta(0)
    # And its jobs run on the loop
    queue.work()
    assert nap.create(timedelta(milliseconds=5)).save().wait(10) == timedelta(milliseconds=10)
    with pytest.raises(kue.JobFailed, match='task "nap": parameter "length": invalid ISO8601 duration'):
        queue.create("nap", {"length": "long"}).attempts(3).save().wait(10)
    assert queue.get(2).attempts_made == 1


def test_partials_and_callable_objects_are_tasks_too(queue: kue.Queue) -> None:
    class Doubler:
        async def __call__(self, n: int) -> int:
            return n * 2

    async def times(factor: int, n: int) -> int:
        return factor * n

    doubled = queue.task("doubled")(Doubler())
    tripled = queue.task("tripled")(functools.partial(times, 3))
    queue.work()
    assert doubled.create(4).save().wait(10) == 8
    assert tripled.create(4).save().wait(10) == 12


def test_the_running_job_is_awaited_too(queue: kue.Queue) -> None:
    @queue.task()
    async def logged(job: kue.Job, text: str) -> int | str | None:
        running: Any = job
        await running.log("it says %s", text)
        return job.id

    queue.work()
    job = logged.create("hello").save()
    assert job.wait(10) == job.id == 1
    assert queue.log(1) == ["it says hello"]


def test_middleware_is_around_async_handlers(queue: kue.Queue) -> None:
    notes: list[Any] = []

    class Noted(kue.Middleware):
        def execute(self, job: kue.Job, call_next: Callable[[kue.Job], Any]) -> Any:
            raise AssertionError("for other handlers")

        async def aexecute(self, job: Any, call_next: Callable[[Any], Any]) -> Any:
            await job.log("before")
            try:
                result = await call_next(job)
            except ValueError as exc:
                notes.append(str(exc))
                raise
            return result + 1

    queue.use(Noted())

    @queue.task(attempts=2)
    async def count(n: int) -> int:
        if n < 0:
            raise ValueError("too few")
        return n

    queue.work()
    assert count.create(4).save().wait(10) == 5
    assert queue.log(1) == ["before"]
    with pytest.raises(kue.JobFailed, match="too few"):
        count.create(-1).save().wait(10)
    assert notes == ["too few"] * 2
    error = queue.get(2).error or ""
    assert "in count" in error and "in aexecute" in error and "kue/tasks" not in error
