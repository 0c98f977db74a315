"""Async handlers: tasks of one event loop, next to other handlers, with the same rules as threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

import kue
import kue.aio
from kue.concurrency import green
from kue.worker.executors import event_loop
from tests.support import wait_until
from tests.worker.heard import Heard

pytestmark = pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")

LIMIT_S = 15


# What a handler may be


class Callable:
    async def __call__(self, job: Any) -> str:
        return f"object {job.data}"


async def with_argument(prefix: str, job: Any) -> str:
    await asyncio.sleep(0)
    return f"{prefix} {job.data}"


@pytest.mark.parametrize(
    "handler, result",
    [
        (functools.partial(with_argument, "function"), "function 7"),
        (functools.partial(functools.partial(with_argument), "nested"), "nested 7"),
        (Callable(), "object 7"),
        (functools.partial(Callable()), "object 7"),
        (Callable().__call__, "object 7"),
    ],
)
def test_anything_that_returns_a_coroutine_runs_on_the_loop(queue: Any, handler: Any, result: str) -> None:
    queue.process("work", handler)
    assert queue.create("work", 7).save().wait(LIMIT_S) == result


def test_done_is_not_for_async_handlers(queue: Any) -> None:
    async def two(job: Any, done: Any) -> None: ...

    async def three(job: Any, ctx: Any, done: Any) -> None: ...

    for handler in (two, three):
        with pytest.raises(kue.InvalidJob, match="an async handler takes \\(job\\) and returns its result"):
            queue.process("work", handler)
    assert queue.processing() == {}


def test_an_async_generator_is_not_a_handler(queue: Any) -> None:
    async def rows(job: Any) -> AsyncIterator[int]:
        yield 1

    with pytest.raises(kue.InvalidJob, match="yield"):
        queue.process("work", rows)


def test_a_function_that_returns_an_unawaited_coroutine_gets_an_error(queue: Any) -> None:
    async def work(job: Any) -> None: ...

    queue.process("work", lambda job: work(job))
    with pytest.raises(kue.JobFailed, match="returned a coroutine"):
        queue.create("work").save().wait(LIMIT_S)


def test_async_and_other_handlers_work_side_by_side(queue: Any) -> None:
    threads: dict[str, set[str]] = {"a": set(), "b": set(), "sync": set()}
    loops = set()

    @queue.process("a", concurrency=5)
    async def a(job: Any) -> int:
        threads["a"].add(threading.current_thread().name)
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0.001)
        return job.data + 1  # type: ignore[no-any-return]

    @queue.process("b", concurrency=5)
    async def b(job: Any) -> int:
        threads["b"].add(threading.current_thread().name)
        loops.add(asyncio.get_running_loop())
        return job.data + 2  # type: ignore[no-any-return]

    @queue.process("sync", concurrency=5)
    def sync(job: Any) -> int:
        threads["sync"].add(threading.current_thread().name)
        return job.data + 3  # type: ignore[no-any-return]

    jobs = queue.create_many({"type": name, "data": n} for n in range(50) for name in threads)
    more = {"a": 1, "b": 2, "sync": 3}
    assert [job.wait(LIMIT_S) - job.data for job in jobs] == [more[job.type] for job in jobs]
    assert threads["a"] == threads["b"] == {"kue event loop"} and len(loops) == 1
    assert "kue event loop" not in threads["sync"]


def test_the_queues_of_a_process_share_one_loop_until_the_last_is_shut_down(queue: Any, redis_url: str) -> None:
    async def work(job: Any) -> int:
        return id(asyncio.get_running_loop())

    other = kue.create_queue(redis_url, "other")
    queue.process("work", work)
    other.process("work", work)
    assert queue.create("work").save().wait(LIMIT_S) == other.create("work").save().wait(LIMIT_S)
    queue.shutdown(2)
    assert isinstance(other.create("work").save().wait(LIMIT_S), int)
    assert event_loop.lag_ms() is not None
    other.shutdown(2)
    assert event_loop.lag_ms() is None
    assert "kue event loop" not in {thread.name for thread in threading.enumerate()}


# Its job


def test_the_job_has_its_names_and_awaits_where_it_talks_to_redis(queue: Any) -> None:
    @queue.process("work")
    async def work(job: Any) -> dict[str, Any]:
        assert isinstance(job, kue.aio.AsyncJob) and job.state == "active" and job.interrupted is None
        await job.log("step %d of %s", 1, {"all": 2})
        await job.progress(1, 4, {"at": "work"})
        assert (await job.refresh()) is job
        job.data["seen"] = True
        assert (await job.priority("high").save()) is job
        other = await job.queue.create("other", {"n": 1}).save()
        return {"percent": job.progress_percent, "data": job.progress_data, "other": other.id}

    job = queue.create("work", {"seen": False}).save()
    result = job.wait(LIMIT_S)
    assert (result["percent"], result["data"]) == (25, {"at": "work"})
    assert queue.log(job.id) == ['step 1 of {"all":2}']
    assert job.refresh().data == {"seen": True} and job.options.priority == -10
    assert queue.get(result["other"]).state == "inactive"


def test_a_handler_may_wait_for_cancel_and_remove_other_jobs(queue: Any) -> None:
    @queue.process("parent", concurrency=2)
    async def parent(job: Any) -> str:
        child = await job.queue.create("child").save()
        return f"child said {await child.wait(LIMIT_S)}"

    @queue.process("child")
    async def child(job: Any) -> str:
        return "hello"

    @queue.process("own")
    async def own(job: Any) -> None:
        await getattr(job, job.data)()
        await asyncio.sleep(LIMIT_S)

    assert queue.create("parent").save().wait(LIMIT_S) == "child said hello"
    with pytest.raises(kue.JobFailed, match="Cancelled"):
        queue.create("own", "cancel").save().wait(LIMIT_S)
    with pytest.raises(kue.JobNotFound):
        queue.create("own", "remove").save().wait(LIMIT_S)


def test_a_handler_may_add_children_and_read_their_results(queue: Any) -> None:
    @queue.process("part", concurrency=3)
    async def part(job: Any) -> int:
        return job.data * 10  # type: ignore[no-any-return]

    @queue.process("whole")
    async def whole(job: Any) -> Any:
        found = [child.data async for child in job.children()]
        if not found:
            await job.add_children([job.queue.create("part", n) for n in (1, 2, 3)])
            return kue.WAIT
        return [found, [result async for _, result in job.child_results()]]

    assert queue.create("whole").save().wait(LIMIT_S) == [[1, 2, 3], [10, 20, 30]]


def test_events_of_a_job_are_received_on_the_loop(queue: Any) -> None:
    @queue.process("work")
    async def work(job: Any) -> Any:
        heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job.on("progress", lambda *args: heard.done() or heard.set_result(threading.current_thread().name))
        while not heard.done():  # it begins to listen in the background
            await job.progress(1, 2)
            await asyncio.sleep(0.02)
        with pytest.raises(kue.InvalidJob):
            job.on("nonsense", print)
        return heard.result()

    assert queue.create("work").save().wait(LIMIT_S) == "kue event loop"


def test_context_variables_are_of_one_job(queue: Any) -> None:
    tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")

    @queue.process("work", concurrency=10)
    async def work(job: Any) -> list[str]:
        before = tenant.get()
        tenant.set(job.data)
        await asyncio.sleep(0.01)

        async def child() -> str:
            return tenant.get()

        return [before, tenant.get(), await asyncio.create_task(child())]

    jobs = queue.create_many({"type": "work", "data": f"t{n}"} for n in range(30))
    assert [job.wait(LIMIT_S) for job in jobs] == [["none", f"t{n}", f"t{n}"] for n in range(30)]


# How it fails


def test_a_failure_keeps_the_handlers_own_stack(queue: Any) -> None:
    async def inner() -> None:
        raise ValueError("no such city")

    @queue.process("work")
    async def work(job: Any) -> None:
        await inner()

    job = queue.create("work").save()
    with pytest.raises(kue.JobFailed, match="no such city"):
        job.wait(LIMIT_S)
    lines = job.refresh().error.splitlines()
    assert lines[0] == "ValueError: no such city" and "in inner" in lines[3] and "kue/worker" not in job.error


@pytest.mark.parametrize("error", [kue.JobCancelled, kue.JobTimeout, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_handler_that_raises_such_a_thing_itself_has_failed_and_the_loop_lives(
    queue: Any, error: type[BaseException]
) -> None:
    @queue.process("work")
    async def work(job: Any) -> str:
        if job.data:
            return "well"
        raise error("by myself")

    with pytest.raises(kue.JobFailed, match="by myself"):
        queue.create("work", 0).save().wait(LIMIT_S)
    assert queue.create("work", 1).save().wait(LIMIT_S) == "well"


def test_a_cancellation_that_nobody_asked_for_is_a_failure(queue: Any) -> None:
    @queue.process("work")
    async def work(job: Any) -> None:
        if job.data == "itself":
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(LIMIT_S)
        child = asyncio.create_task(asyncio.sleep(LIMIT_S))
        child.cancel()
        await child

    for data in ("itself", "its child"):
        job = queue.create("work", data).attempts(2).save()
        with pytest.raises(kue.JobFailed, match="CancelledError"):
            job.wait(LIMIT_S)
        assert [entry["outcome"] for entry in job.refresh().attempt_log] == ["failed", "failed"]


def test_a_task_of_a_handler_that_raises_system_exit_does_not_end_the_loop(
    queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @queue.process("work")
    async def work(job: Any) -> str:
        async def leave() -> None:
            raise SystemExit(3)

        try:
            await asyncio.create_task(leave())
        except SystemExit:
            return "caught"
        return "not caught"

    assert queue.create("work").save().wait(LIMIT_S) == "caught"
    assert queue.create("work").save().wait(LIMIT_S) == "caught"
    assert "the event loop continues" in caplog.text


# What stops it


@pytest.mark.parametrize("swallow", [False, True])
def test_a_ttl_cancels_the_task_which_may_clean_up_and_has_no_say(queue: Any, swallow: bool) -> None:
    seen: list[Any] = []
    cleaned = threading.Event()

    @queue.process("slow")
    async def slow(job: Any) -> str:
        if job.data == "quick":
            return "quick"
        try:
            await asyncio.sleep(LIMIT_S)
        except asyncio.CancelledError as exc:
            seen.extend((exc.args[0], job.interrupted))
            if not swallow:
                raise
        finally:
            await asyncio.sleep(0.05)
            for write in (lambda: job.log("late"), lambda: job.progress(1, 2)):
                with pytest.raises(kue.JobTimeout):
                    await write()
            cleaned.set()
        return "done all the same"

    job = queue.create("slow", "slow", ttl=150)
    heard = Heard(job)
    job.save()
    following = queue.create("slow", "quick").save()
    with pytest.raises(kue.JobFailed, match="TTL exceeded"):
        job.wait(LIMIT_S)
    assert following.wait(LIMIT_S) == "quick" and cleaned.wait(LIMIT_S)
    assert queue.create("slow", "quick").save().wait(LIMIT_S) == "quick"
    assert [type(each) for each in seen] == [kue.JobTimeout, kue.JobTimeout]
    assert heard.events == {"enqueue": 1, "start": 1, "ttl exceeded": 1, "failed": 1}
    assert (job.refresh().result, queue.log(job.id)) == (None, ["TTL exceeded"])
    assert [entry["outcome"] for entry in job.attempt_log] == ["failed"]


def test_a_cancelled_job_frees_its_slot_though_its_handler_continues(queue: Any) -> None:
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    reasons: list[Any] = []

    @queue.process("deaf")
    async def deaf(job: Any) -> str:
        if job.data == "quick":
            return "quick"
        began.set()
        while not go_on.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                reasons.append(job.interrupted)
        ended.set()
        return "too late"

    job = queue.create("deaf", "slow").attempts(3).save()
    assert began.wait(LIMIT_S)
    job.cancel()
    assert queue.create("deaf", "quick").save().wait(LIMIT_S) == "quick"  # while the other still runs
    assert not ended.is_set() and queue.running() == []
    go_on.set()
    assert ended.wait(LIMIT_S)
    assert queue.create("deaf", "quick").save().wait(LIMIT_S) == "quick"
    assert (job.refresh().state, job.error, job.attempts_made, job.result) == ("failed", "Cancelled", 0, None)
    assert len(reasons) == 1 and isinstance(reasons[0], kue.JobCancelled)


def test_the_ttl_of_a_handler_that_blocks_the_loop_ends_its_job_anyway(queue: Any) -> None:
    go_on = threading.Event()

    @queue.process("work")
    async def work(job: Any) -> str:
        if job.data == "blocks":
            go_on.wait(LIMIT_S)
        return "done"

    job = queue.create("work", "blocks", ttl=100).save()
    try:
        with pytest.raises(kue.JobFailed, match="TTL exceeded"):
            job.wait(LIMIT_S)
        wait_until(lambda: queue.running() == [], LIMIT_S)
    finally:
        go_on.set()
    assert queue.create("work", "quick").save().wait(LIMIT_S) == "done"
    assert (job.refresh().state, job.result) == ("failed", None)


def test_a_cancellation_goes_through_task_groups_and_timeouts(queue: Any) -> None:
    began, ended = threading.Event(), []

    async def part() -> None:
        try:
            await asyncio.sleep(LIMIT_S)
        finally:
            ended.append("part")

    @queue.process("work")
    async def work(job: Any) -> None:
        try:
            async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
                group.create_task(part())
                group.create_task(part())
                await asyncio.sleep(0)
                began.set()
        finally:
            ended.append("work")

    job = queue.create("work").save()
    assert began.wait(LIMIT_S)
    job.cancel()
    wait_until(lambda: ended == ["part", "part", "work"], LIMIT_S)
    with pytest.raises(kue.JobFailed, match="Cancelled"):
        job.wait(LIMIT_S)


def test_a_shutdown_cancels_lets_clean_up_and_closes_generators(queue: Any, redis_url: str) -> None:
    began, ended = threading.Event(), []
    first = kue.create_queue(redis_url)

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            ended.append("generator")

    kept = []

    @first.process("work")
    async def work(job: Any) -> None:
        rows = numbers()
        kept.append(rows)
        await anext(rows)
        began.set()
        try:
            await asyncio.sleep(LIMIT_S)
        except asyncio.CancelledError as exc:
            ended.append(type(exc.args[0]))
            raise
        finally:
            await asyncio.sleep(0.05)
            ended.append("cleaned")

    job = queue.create("work").attempts(1).save()
    assert began.wait(LIMIT_S)
    first.shutdown(0.05)
    assert ended == [kue.WorkerStopping, "cleaned", "generator"]
    assert (job.refresh().state, job.attempts_made) == ("inactive", 0)
    assert queue.log(job.id)[-1] == "Released: its worker stopped."
    assert "kue event loop" not in {thread.name for thread in threading.enumerate()}
    queue.process("work", lambda job: "by another")
    assert job.wait(LIMIT_S) == "by another"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["never ends", "blocks the loop"])
def test_a_handler_that_never_ends_does_not_hold_up_the_shutdown(queue: Any, redis_url: str, how: str) -> None:
    began, release = threading.Event(), threading.Event()
    first = kue.create_queue(redis_url)

    @first.process("work")
    async def work(job: Any) -> None:
        began.set()
        while not release.is_set():
            if how == "blocks the loop":
                release.wait(LIMIT_S)
                return
            try:
                await asyncio.sleep(0.05)
            except asyncio.CancelledError:
                pass

    job = queue.create("work").save()
    assert began.wait(LIMIT_S)
    asked = time.monotonic()
    first.shutdown(0.05)
    took = time.monotonic() - asked
    release.set()
    assert took < 8  # about two seconds where nothing else runs
    assert job.refresh().state == "inactive"
    queue.process("work", lambda job: "by another")
    assert job.wait(LIMIT_S) == "by another"


def test_a_job_that_was_taken_away_before_its_task_began_is_not_run(queue: Any) -> None:
    ran, blocking, go_on = [], threading.Event(), threading.Event()

    @queue.process("work", concurrency=2)
    async def work(job: Any) -> None:
        ran.append(job.data)
        if job.data == "first":
            blocking.set()
            go_on.wait(LIMIT_S)

    first = queue.create("work", "first").save()
    assert blocking.wait(LIMIT_S)
    second = queue.create("work", "second").save()
    wait_until(lambda: len(queue.running()) == 2, LIMIT_S)
    second.cancel()
    wait_until(lambda: len(queue.running()) == 1, LIMIT_S)
    go_on.set()
    first.wait(LIMIT_S)
    assert ran == ["first"] and second.refresh().error == "Cancelled"


# Many


def test_thousands_of_jobs_run_at_once_and_each_ends_once(queue: Any) -> None:
    count, most = 3000, 0
    running: set[int] = set()
    seen: Counter[int] = Counter()

    @queue.process("many", concurrency=1000)
    async def many(job: Any) -> int:
        nonlocal most
        n = job.data
        running.add(n)
        most = max(most, len(running))
        seen[n] += 1
        await asyncio.sleep(0.2)
        running.discard(n)
        return n  # type: ignore[no-any-return]

    jobs = queue.create_many({"type": "many", "data": n} for n in range(count))
    wait_until(lambda: queue.counts()["complete"] == count, 60)
    assert most > 300 and set(seen.values()) == {1} and len(seen) == count
    assert jobs[-1].refresh().result == count - 1


def test_a_job_for_which_no_loop_can_be_started_is_released_and_runs_later(
    queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire, refused = event_loop.acquire, []

    def once(tasks: Any) -> event_loop.EventLoop:
        if not refused:
            refused.append(tasks)
            raise RuntimeError("can't start new thread")
        return acquire(tasks)

    monkeypatch.setattr(event_loop, "acquire", once)

    @queue.process("work")
    async def work(job: Any) -> str:
        return "done"

    job = queue.create("work").save()
    assert job.wait(LIMIT_S) == "done" and refused
    assert [entry["outcome"] for entry in job.refresh().attempt_log] == ["released"]
    assert job.attempts_made == 1


def test_after_a_fork_the_child_has_a_loop_of_its_own(queue: Any, redis_url: str) -> None:
    @queue.process("parent")
    async def parent(job: Any) -> str:
        return "parent"

    assert queue.create("parent").save().wait(LIMIT_S) == "parent"
    import os

    pid = os.fork()
    if pid == 0:
        status = 1
        try:

            @queue.process("child")
            async def child(job: Any) -> str:
                return "child"

            status = 0 if queue.create("child").save().wait(LIMIT_S) == "child" else 2
            queue.shutdown(1)
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert queue.create("parent").save().wait(LIMIT_S) == "parent"
