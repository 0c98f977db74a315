"""The methods of an asyncio queue behave like those of kue.Queue, and never block the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from typing import Any

import pytest

import kue
import kue.aio
from kue.backoff import BackoffFunction
from kue.middleware import AsyncCreateNext, ExecuteNext
from kue.testing import NOWHERE, collected
from tests.support.async_job_life import WAIT_S, live
from tests.support.loops import on_loop, until

#: Names of the asyncio queue and job that the others have not, and the other way round.
MORE_OF_QUEUE, MORE_OF_JOB = {"events", "sync"}, set[str]()
#: Calls that never talk to Redis, so they are no coroutines.
NOT_AWAITED = {
    "create", "backoff", "process", "scheduled", "concurrency", "processing", "running", "watch_stuck_jobs", "quiet",
    "retain",
    "retention", "events", "task", "work", "use", "alert_rules",
}  # fmt: skip


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_public_names_are_those_of_the_queue_and_the_job() -> None:
    one, other = kue.create_queue("redis://127.0.0.1:1/0"), kue.aio.create_queue("redis://127.0.0.1:1/0")
    assert public(other) - public(one) == MORE_OF_QUEUE and public(one) - public(other) == set()
    assert public(other.create("t")) == public(one.create("t")) | MORE_OF_JOB
    assert public(other.history) == public(one.history)
    assert set(inspect.signature(kue.aio.create_queue).parameters) == set(
        inspect.signature(kue.create_queue).parameters
    )


def test_what_talks_to_redis_is_awaited_with_the_same_parameters() -> None:
    one, other = kue.create_queue("redis://127.0.0.1:1/0"), kue.aio.create_queue("redis://127.0.0.1:1/0")
    pairs: list[tuple[str, Any, Any]] = [
        *((name, getattr(one, name), getattr(other, name)) for name in sorted(public(one))),
    ]
    for name in ("save", "refresh", "remove", "cancel", "wait", "log", "progress"):
        pairs.append((name, getattr(one.create("t"), name), getattr(other.create("t"), name)))
    for name, sync, awaited in pairs:
        if callable(sync) and not isinstance(sync, (str, type)) and name != "test_mode":
            assert inspect.iscoroutinefunction(awaited) != (name in NOT_AWAITED), name
            assert list(inspect.signature(sync).parameters) == list(inspect.signature(awaited).parameters), name
            assert awaited.__doc__ or name.endswith("_count") or name in ("inactive", "complete", "failed", "delayed")


@on_loop
async def test_a_whole_life(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url, search=True) as queue:
        await live(queue)


@on_loop
async def test_every_reading_call_answers_as_the_queue_does(redis_url: str) -> None:
    sync = kue.create_queue(redis_url)
    for number in range(20):
        job = sync.create("a" if number % 3 else "b", {"n": number}).priority(number % 4).save()
        if number % 5 == 0:
            sync.set_state(job.id or 0, "failed")
    sync.change_settings({"one": "1"})
    async with kue.aio.create_queue(redis_url) as queue:
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("fields", ([1, 2, 99], ["type", "data"])), ("count_of", ("inactive", "a")), ("count_of", ()),
            ("types", ()), ("ids", ("inactive", "b")), ("active", ()), ("inactive", ()), ("complete", ()),
            ("failed", ()), ("delayed", ()), ("card", ("inactive", "a")), ("counts", ()), ("counts_by_type", ()),
            ("inactive_count", ("a",)), ("active_count", ()), ("complete_count", ()), ("failed_count", ()),
            ("delayed_count", ()), ("work_time", ()), ("rank_in", (2, "inactive")), ("setting", ("one",)),
            ("settings", ("one", "two")), ("paused", ()), ("workers", ()), ("leases", ()), ("waiting_parents", ()),
            ("first_ids", ("inactive", None, 3)), ("newest_ids", (None, "a", 3)), ("recent_errors", ()),
            ("look_through", (["1"], 0, 20, 5)), ("search", ("x",)), ("log", (1,)), ("shared_secret", ("s",)),
            ("check_health", ()), ("end_session", ("x", 2**42)),
            ("end_sessions_of", ("x",)), ("session_has_ended", ("x",)),
        ]  # fmt: skip
        for name, arguments in calls:
            assert await getattr(queue, name)(*arguments) == getattr(sync, name)(*arguments), name
        for name, arguments in [
            ("get_many", ([3, 1, 99],)), ("range", (0, 4)), ("range_by_state", ("inactive", 0, 4, "desc")),
            ("range_by_type", ("a", "inactive", 0, 4)), ("range_of", ("inactive", None, 0, 4)),
        ]:  # fmt: skip
            found = await getattr(queue, name)(*arguments)
            assert [job.to_dict() for job in found] == [job.to_dict() for job in getattr(sync, name)(*arguments)], name
            assert all(isinstance(job, kue.aio.AsyncJob) for job in found)
        oldest = await queue.oldest_waiting()
        assert oldest is not None and oldest.id == 2
        assert await queue.rank(oldest) == sync.rank(sync.get(2))
        assert (await queue.memory())["jobs"] == 20
        assert abs(await queue.server_ms() - sync.server_ms()) < 10_000
        await queue.history.record("minutes", 1_000_000, {"complete": 3})
        assert await queue.history.read("minutes") == sync.history.read("minutes") != []
        assert (await kue.aio.AsyncJob.get(queue, 3)).data == {"n": 2}
    sync.close()


@on_loop
async def test_errors_are_those_of_the_queue(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        with pytest.raises(kue.JobNotFound):
            await queue.get(7)
        job = queue.create("t")
        with pytest.raises(kue.InvalidJob, match="save"):
            await job.refresh()
        with pytest.raises(kue.InvalidJob, match="no option"):
            queue.create("t", wrong=1)
        with pytest.raises(kue.InvalidJob, match="new jobs"):
            await queue.create_many([queue.create("t"), await job.save()])
        with pytest.raises(kue.WrongState):
            await queue.retry(job.id or 0)
        with pytest.raises(kue.WaitTimeout):
            await job.wait(0.05)
        with pytest.raises(kue.InvalidJob, match="event"):
            await queue.on("job comlete", print)
        await job.remove()
        with pytest.raises(kue.JobNotFound):
            await job.wait(1)


@on_loop
async def test_saving_again_and_unique(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        job = await queue.create("t", {"key": "a"}).save()
        job.data["key"] = "b"
        await job.priority(5).save()
        assert (await queue.get(job.id or 0)).data == {"key": "b"}
        await queue.claim_unique(job, "key")
        same, other = await asyncio.gather(
            queue.save_unique(queue.create("t", {"key": "b"}), "key"),
            queue.save_unique(queue.create("t", {"key": "c"}), "key"),
        )
        assert same.id == job.id and other.id != job.id


def linear(attempts_made: int, delay_ms: float) -> float:
    return attempts_made * delay_ms


@on_loop
async def test_backoff_functions_and_test_mode_are_shared_with_the_working_queue(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        function: BackoffFunction = linear
        queue.backoff("linear", function)
        assert queue.backoffs == queue.sync.backoffs == {"linear": linear}
        queue.test_mode.enter()
        job = await queue.create("t", {"n": 1}).save()
        queue.process("t", lambda job: None)
        assert queue.test_mode.jobs == [job] and not queue.processing()
        await job.log("kept")
        assert queue.test_mode.logs == {job.id: ["kept"]}
        queue.test_mode.exit()
        assert queue.processing() == {"t": 1}


class Tenant(kue.Middleware):
    """Notes a tenant, which only the task that saves knows, in each job."""

    def __init__(self) -> None:
        self.steps: list[Any] = []

    async def acreate(self, job: Any, call_next: AsyncCreateNext) -> None:
        await asyncio.sleep(0)
        if job.data.get("refused"):
            raise PermissionError("not this one")
        job.data["tenant"] = tenant.get()
        await call_next(job)
        self.steps.append(job.id)

    def execute(self, job: Any, call_next: ExecuteNext) -> Any:
        return [job.data["tenant"], call_next(job)]


tenant = contextvars.ContextVar("tenant", default="")


@on_loop
async def test_middleware_runs_around_creation_and_execution(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        middleware = Tenant()
        assert queue.use(middleware) is queue
        queue.process("t", lambda job: job.data["n"])

        async def save(name: str, number: int) -> kue.aio.AsyncJob:
            tenant.set(name)
            return await queue.create("t", {"n": number}).save()

        jobs = await asyncio.gather(save("ada", 1), save("bob", 2))
        assert [await job.wait(WAIT_S) for job in jobs] == [["ada", 1], ["bob", 2]]
        assert sorted(middleware.steps) == [1, 2]
        with pytest.raises(PermissionError):
            await queue.create_many([{"type": "t"}, {"type": "t", "data": {"refused": True}}])
        assert await queue.count_of() == 2


@on_loop
async def test_tasks_are_declared_and_worked(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:

        @queue.task(attempts=2)
        def double(number: int) -> int:
            return 2 * number

        assert set(queue.tasks) == {"double"} and double(4) == 8
        job = await queue.create("double", {"number": 21}).save()
        queue.work()
        assert await job.wait(WAIT_S) == 42


@on_loop
async def test_jobs_are_collected_without_a_redis() -> None:
    queue = kue.aio.create_queue(NOWHERE)
    with collected(queue) as jobs:
        job = await queue.create("t", {"n": 1}).on("complete", print).save()
        assert await job.refresh() is job and jobs == [job] and job.id == 1
        many = await queue.create_many([{"type": "u"}, {"type": "v"}])
        await many[0].remove()
        assert [each.type for each in jobs] == ["t", "v"]
    await queue.close()


@on_loop
async def test_a_worker_that_is_shut_down_releases_its_jobs_without_blocking_the_loop(redis_url: str) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    let_go = asyncio.Event()
    loop = asyncio.get_running_loop()
    queue = kue.aio.create_queue(redis_url)
    started = asyncio.Event()

    def work(job: kue.Job) -> None:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(let_go.wait(), loop).result(WAIT_S)

    queue.process("t", work)
    job = await queue.create("t").save()
    await started.wait()
    counting = asyncio.create_task(count_turns())
    await queue.shutdown(0.3)
    assert turns > 20
    counting.cancel()
    let_go.set()
    async with kue.aio.create_queue(redis_url) as other:
        assert (await other.get(job.id or 0)).state == "inactive"


@on_loop
async def test_errors_of_the_process_reach_handlers_on_the_loop(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        told: list[BaseException] = []

        async def on_error(exc: BaseException) -> None:
            asyncio.current_task()
            told.append(exc)

        await queue.on("error", on_error)
        await queue.counts()
        error = RuntimeError("of a thread")
        await asyncio.to_thread(queue.sync._tell_error, error)
        await until(lambda: told == [error])
