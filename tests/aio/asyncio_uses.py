"""Right and wrong uses of the asyncio queue, for type checkers. Nothing here is run.

A wrong use has a ``type: ignore``. Both checkers report one that is not needed, so each such line must be an error.
"""
# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, assert_type

import kue
import kue.aio
from kue.aio import AsyncJob

queue = kue.aio.create_queue("redis://127.0.0.1", "jobs", lease_ms=timedelta(seconds=10))


@queue.process("mail", 20)
def send(job: kue.Job) -> str:
    return job.type


@queue.process("report")
async def report(job: Any) -> None: ...


class Tenant(kue.Middleware):
    async def acreate(self, job: AsyncJob, call_next: Callable[[Any], Awaitable[None]]) -> None:
        await call_next(job)


async def right() -> None:
    assert_type(queue.sync, kue.Queue)
    assert_type(queue.create("mail", {"to": "ada"}).priority("high").attempts(3).delay(timedelta(seconds=1)), AsyncJob)
    job = await queue.create("mail", {}, ttl=5).on("complete", print).save()
    assert_type(job, AsyncJob)
    assert_type(await job.refresh(), AsyncJob)
    assert_type(await job.wait(10), Any)
    await job.log("to %s", "ada")
    await job.progress(1, 2, {"half": True})
    await job.cancel()
    await job.remove()
    await job.add_children(queue.create("mail"))
    assert_type(job.children(), AsyncIterator[AsyncJob])
    async for child in job.children():
        assert_type(child, AsyncJob)
    async for job_id, _ in job.child_results():
        assert_type(job_id, int | str)
    assert_type(await queue.create_many([{"type": "mail"}, queue.create("mail")]), list[AsyncJob])
    assert_type(await queue.save_unique(queue.create("mail", {"to": "a"}), "to"), AsyncJob)
    assert_type(await queue.chain(queue.create("a"), queue.create("b")), AsyncJob)
    assert_type((await queue.batch([queue.create("a")], then=queue.create("b"))).jobs, list[AsyncJob])
    assert_type(await queue.get(7), AsyncJob)
    assert_type(await queue.get_many([7, "8"]), list[AsyncJob])
    assert_type(await queue.range_by_state("failed", 0, 9, "desc"), list[AsyncJob])
    assert_type(await queue.oldest_waiting(), AsyncJob | None)
    assert_type(await queue.run_as_new(7, data={}), AsyncJob)
    assert_type(await queue.counts(), dict[str, int])
    assert_type(await queue.clean("complete", keep=5), int)
    assert_type(await queue.subscribe(print, required=False), Callable[[], None])
    assert_type(await queue.on("job complete", print), kue.aio.Queue)
    assert_type(queue.use(Tenant()), kue.aio.Queue)
    assert_type(queue.concurrency("mail", 5), int)
    assert_type(queue.processing(), dict[str, int])
    assert_type(queue.test_mode.jobs, list[AsyncJob])
    async for event in queue.events():
        assert_type(event, kue.Event)
    async with queue.events(required=False) as events:
        assert_type(await anext(events), kue.Event)
    async with kue.aio.create_queue() as other:
        assert_type(other, kue.aio.Queue)
    await queue.shutdown(timedelta(seconds=5))
    await queue.close()


async def wrong() -> None:
    await queue.get()  # type: ignore
    await queue.get(7, 8)  # type: ignore
    await queue.counts(5)  # type: ignore
    await queue.fields([1], 5)  # type: ignore
    await queue.create_many([kue.create_queue().create("mail")])  # type: ignore
    await queue.processing()  # type: ignore
    queue.process(5, send)  # type: ignore
    number: int = queue.inactive_count()  # type: ignore
    await queue.create("mail").priority("high", 5)  # type: ignore
    await queue.create("mail").log()  # type: ignore
    for _ in queue.events():  # type: ignore
        pass
    with queue:  # type: ignore
        print(number)
