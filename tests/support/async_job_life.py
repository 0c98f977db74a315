"""The whole life of jobs on one asyncio queue, for each form of Redis: whatever a form breaks, a step meets it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import kue
import kue.aio
from tests.support.loops import until

#: Generous: the machine may be busy.
WAIT_S = 30.0


async def live(queue: kue.aio.Queue) -> None:
    """Create, work, retry, delay, cancel, pause, look and remove on a queue that has no jobs yet."""
    heard: list[kue.Event] = []
    end = await queue.subscribe(heard.append)
    # Given jobs of all kinds before there is a worker
    single = await queue.create("life", {"n": 0, "title": "xin chào life"}).priority("high").save()
    many = await queue.create_many([{"type": "life", "data": {"n": n}} for n in range(1, 51)])
    delayed = await queue.create("life", {"n": 60}).delay(120).save()
    failing = await queue.create("life", {"fails": 2}, attempts=3, backoff={"type": "fixed", "delay": 20}).save()
    failed = await queue.create("life", {"fails": 9}).save()
    removed = await queue.create("life", {"n": 63}).delay(600_000).save()
    assert (await queue.counts("life"))["inactive"] == 53
    assert await queue.search("life chào") == [single.id]
    await removed.remove()
    # When they are worked, by the sync queue that belongs to it

    @queue.process("life", 5)
    def work(job: kue.Job) -> Any:
        job.log("attempt %d", job.attempts_made + 1)
        job.progress(1, 2, {"half": True})
        if job.data.get("fails", 0) > job.attempts_made:
            raise ValueError("planned")
        return job.data.get("n")

    assert queue.processing() == {"life": 5} and queue.concurrency("life", 6) == 6
    # Then each has ended as it should
    assert await single.wait(WAIT_S) == 0
    assert [await job.wait(WAIT_S) for job in many] == list(range(1, 51))
    assert await delayed.wait(WAIT_S) == 60
    assert await failing.wait(WAIT_S) is None
    with pytest.raises(kue.JobFailed, match="planned"):
        await failed.wait(WAIT_S)
    assert await queue.counts() == {"inactive": 0, "active": 0, "complete": 53, "failed": 1, "delayed": 0}
    told = await queue.get(failing.id or 0)
    assert isinstance(told, kue.aio.AsyncJob) and told.queue is queue
    assert told.attempts_made == 3 and (await queue.log(told.id or 0))[0] == "attempt 1"
    await until(lambda: len([each for each in heard if each.event == "complete"]) == 53)
    end()
    # And an operator's calls do what they should
    await queue.pause("life")
    waiting = await queue.create("life", {"n": 80}).save()
    assert await queue.paused() == ["life"] and await queue.place(waiting) == (0, None)
    await waiting.cancel()
    assert (await waiting.refresh()).state == "failed"
    await queue.resume("life")
    again = await queue.run_as_new(single.id or 0)
    assert isinstance(again, kue.aio.AsyncJob) and again.copy_of is None and await again.wait(WAIT_S) == 0
    assert (await queue.set_priority(failed.id or 0, -3)).options.priority == -3
    await queue.retry(failed.id or 0)
    await single.log("a line of %s", "somebody")
    assert (await queue.log(single.id or 0))[-1] == "a line of somebody"
    assert await queue.clean("complete", keep=1) > 50
    queue.retain(complete=5, max_age=timedelta(days=1))
    assert queue.retention()["complete"].keep == 5
    # A flow is saved in one step, and read back
    parts = [queue.create("life", {"n": n}) for n in (91, 92)]
    batch = await queue.batch(parts, then=queue.create("life", {"n": 93}))
    assert batch.then is not None and await batch.then.wait(WAIT_S) == 93
    assert [child.id async for child in batch.then.children()] == [part.id for part in parts]
    assert [result async for _, result in batch.then.child_results()] == [91, 92]
    last = await queue.chain(queue.create("life", {"n": 94}), queue.create("life", {"n": 95}))
    assert await last.wait(WAIT_S) == 95
