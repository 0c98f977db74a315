"""The whole life of jobs on one queue, for each form of Redis: whatever a form breaks, one of these steps meets it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

import kue
from tests.support import wait_until

#: Generous: the machine may be busy.
WAIT_S = 30.0


def live(queue: kue.Queue) -> None:
    """Create, work, retry, delay, time out, cancel, pause, look and remove on a queue that has no jobs yet."""
    heard: list[kue.Event] = []
    hanging, let_go = threading.Event(), threading.Event()
    end = queue.subscribe(heard.append)

    def work(job: kue.Job) -> Any:
        job.log("attempt %d", job.attempts_made + 1)
        job.progress(1, 2, {"half": True})
        if job.data.get("fails", 0) > job.attempts_made:
            raise ValueError("planned")
        if job.data.get("hangs"):
            hanging.set()
            for _ in range(200):
                job.log("still here")  # the place where a plain thread learns that it is to stop
                if let_go.wait(0.05):
                    break
        return {"n": job.data["n"]}

    def ends(job: kue.Job, event: str) -> None:
        wait_until(lambda: any(each.id == job.id and each.event == event for each in heard), WAIT_S, message=event)

    try:
        # Given jobs of all kinds before there is a worker
        single = queue.create("life", {"n": 0, "title": "xin chào life"}).priority("high").save()
        many = queue.create_many([{"type": "life", "data": {"n": n}} for n in range(1, 51)])
        delayed = queue.create("life", {"n": 60}).delay(120).save()
        failing = queue.create("life", {"n": 61, "fails": 2}, attempts=3, backoff={"type": "fixed", "delay": 20}).save()
        failed = queue.create("life", {"n": 62, "fails": 9}).save()
        removed = queue.create("life", {"n": 63}).delay(600_000).save()
        assert queue.counts("life")["inactive"] == 53
        assert queue.search("life chào") == [single.id]
        removed.remove()

        # When they are worked
        queue.process("life", 5, work)

        # Then each has ended as it should, and everybody heard of it
        assert single.wait(WAIT_S) == {"n": 0}
        assert [job.wait(WAIT_S) for job in many] == [{"n": n} for n in range(1, 51)]
        assert delayed.wait(WAIT_S) == {"n": 60}
        assert failing.wait(WAIT_S) == {"n": 61}
        ends(failed, "failed")
        assert queue.counts() == {"inactive": 0, "active": 0, "complete": 53, "failed": 1, "delayed": 0}
        wait_until(lambda: len([each for each in heard if each.event == "complete"]) == 53, WAIT_S)
        told = queue.get(failing.id or 0)
        assert told.attempts_made == 3 and queue.log(told.id or 0)[0] == "attempt 1"
        assert told.to_dict()["data"] == {"n": 61, "fails": 2} and told.progress_data == {"half": True}
        assert queue.types() == ["life"] and queue.work_time() >= 0

        # A ttl that runs out, a cancelled job and a removed one stop their handlers
        timed_out = queue.create("life", {"n": 70, "hangs": True}).ttl(100).save()
        wait_until(hanging.is_set, WAIT_S)
        let_go.wait(0)  # the log lines do not move the deadline
        ends(timed_out, "failed")
        for stop in (queue.cancel, queue.remove):
            hanging.clear()
            job = queue.create("life", {"n": 71, "hangs": True}).save()
            wait_until(hanging.is_set, WAIT_S)
            stop(job.id or 0)
            ends(job, "failed" if stop == queue.cancel else "remove")
        wait_until(lambda: not queue.running(), WAIT_S)

        # A paused type waits, for everybody, until it is resumed
        queue.pause("life")
        assert queue.paused() == ["life"]
        waiting = queue.create("life", {"n": 80}).save()
        assert queue.get(waiting.id or 0).state == "inactive"
        queue.resume("life")
        assert waiting.wait(WAIT_S) == {"n": 80}

        # A schedule fires, twice
        queue.schedule("tick", "life", {"n": 81}, every=200, limit=2, missed="all", overlap="allow")
        wait_until(lambda: queue.get_schedule("tick").ended, WAIT_S)
        ticks = [queue.get(run.job_id or 0) for run in queue.get_schedule("tick").runs]
        assert [job.schedule for job in ticks] == ["tick"] * 2
        assert [job.wait(WAIT_S) for job in ticks] == [{"n": 81}] * 2
        assert queue.unschedule("tick")
        for job in ticks:
            job.remove()

        # Ranges, priorities and removal
        assert len(queue.range_by_type("life", "complete", 0, -1)) == 54
        assert [job.id for job in queue.range_by_state("failed", 0, 0)] == [failed.id]
        queue.set_priority(failed.id or 0, -3)
        queue.retry(failed.id or 0)
        wait_until(lambda: queue.failed_count() == 3, WAIT_S)
        single.remove()
        assert queue.search("life chào") == []
    finally:
        let_go.set()
        end()


def produce(queue: kue.Queue, job_type: str, numbers: Iterable[int], saved: list[kue.Job]) -> None:
    """Save a job for each number, again as long as Redis is away."""
    for number in numbers:
        job = queue.create(job_type, {"n": number})
        while job.id is None:
            try:
                saved.append(job.save())
            except kue.QueueUnavailable:
                continue
