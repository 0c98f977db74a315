"""Right and wrong uses of tasks, for type checkers. Nothing here is run.

A wrong use has a ``type: ignore``. Both checkers report one that is not needed, so each such line must be an error.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_type

import kue
import kue.aio

queue = kue.create_queue()


@dataclass
class Box:
    width: int
    height: int = 600


@queue.task(name="resize", attempts=3, ttl=60_000, priority="high", concurrency=4)
def resize(url: str, width: int = 800) -> str:
    return f"{url}?w={width}"


@queue.task(delay=timedelta(minutes=1), backoff="exponential")
async def fetch(url: str, *, box: Box | None = None) -> Box:
    return box or Box(1)


@queue.task()
def logged(job: kue.Job, to: str) -> int:
    job.log("to %s", to)
    return 1


@queue.task()
async def logged_later(job: kue.Job, to: str) -> datetime:
    return datetime.now()


@queue.task()
def parent(job: kue.Job) -> list[int]:
    job.add_children(logged.create("ada"))
    return kue.WAIT


@queue.task()
async def followed(job: kue.aio.AsyncJob, number: int) -> int:
    await job.log("number %d", number)
    return number


@queue.task()
def clean() -> None: ...


@queue.task()
def anything(value: Any, count: int = 1) -> int:
    return count


def calls() -> None:
    # The function is called as ever.
    assert_type(resize("u", width=3), str)
    resize(5)  # type: ignore
    resize()  # type: ignore
    # Its jobs have the same parameters, and its result.
    assert_type(resize.create("u").wait(), str)
    assert_type(resize.create(url="u", width=1).priority("high").attempts(2).delay(5).save().wait(timedelta(1)), str)
    resize.create(5)  # type: ignore
    resize.create()  # type: ignore
    resize.create("u", "v")  # type: ignore
    resize.create("u", height=1)  # type: ignore
    number: int = resize.create("u").wait()  # type: ignore
    # Many at once.
    assert_type(resize.create_many([{"url": "u"}, resize.create("v")]), list[kue.TypedJob[str]])
    resize.create_many([5])  # type: ignore
    resize.create_many([fetch.create("u")])  # type: ignore
    # Without parameters and without a result.
    assert_type(clean.create().save().wait(), None)
    clean.create(1)  # type: ignore
    # The job is no parameter of its jobs.
    assert_type(logged.create("ada").wait(), int)
    logged.create(to=5)  # type: ignore
    logged.create(queue.create("x"), "ada")  # type: ignore
    logged("ada")  # type: ignore
    logged(logged.create("ada"), "ada")
    # A first parameter that takes anything is no job.
    anything.create({"a": 1}, 2)
    anything(5)
    print(number)


async def coroutines() -> None:
    assert_type(await fetch("u"), Box)
    assert_type(fetch.create("u", box=Box(3)).wait(), Box)
    fetch.create("u", Box(3))  # type: ignore
    assert_type(logged_later.create("ada").wait(), datetime)
    await logged_later("ada")  # type: ignore
    # Created and saved without blocking the event loop.
    assert_type(await (await fetch.acreate("u", box=Box(3))).wait(), Box)
    assert_type(await (await resize.acreate("u")).wait(timedelta(1)), str)
    await resize.acreate(5)  # type: ignore
    (await resize.acreate("u")).priority("high")
    assert_type(await followed.acreate(1), kue.aio.AsyncTypedJob[int])
    await followed.acreate("one")  # type: ignore


def passed_on() -> None:
    some: kue.Task[..., str] = resize
    function: Callable[[str], str] = resize
    other: kue.Task[..., int] = resize  # type: ignore
    wrong: Callable[[int], str] = resize  # type: ignore
    print(some, function, other, wrong)
    queue.task(7)  # type: ignore
    queue.task(attempts="three")  # type: ignore
