"""Stopping a running attempt: ttl, cancellation, worker shutdown. One outcome, one event, a free slot."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import kue
from kue.concurrency import green
from tests.support import wait_until
from tests.worker.heard import Heard

LIMIT_S = 15


def busy(job: Any) -> None:
    """Run until stopped: a green thread anywhere, a plain one at its next log line."""
    while True:
        time.sleep(0.01)
        job.log("tick")


def test_a_ttl_stops_the_handler_and_frees_its_slot(queue: Any) -> None:
    # Given one slot, with a handler that would go on for ever
    raised: list[BaseException] = []

    @queue.process("slow")
    def slow(job: Any) -> None:
        if job.data["quick"]:
            return
        try:
            busy(job)
        except BaseException as exc:
            raised.append(exc)
            raise

    job = queue.create("slow", {"quick": False}, ttl=150, attempts=1)
    heard = Heard(job)
    job.save()
    following = queue.create("slow", {"quick": True}).save()

    # Then it is stopped, the next job has the slot, and it failed once
    with pytest.raises(kue.JobFailed, match="TTL exceeded"):
        job.wait(LIMIT_S)
    following.wait(LIMIT_S)
    wait_until(lambda: raised, LIMIT_S)
    assert isinstance(raised[0], kue.JobTimeout)
    assert heard.events == {"enqueue": 1, "start": 1, "ttl exceeded": 1, "failed": 1}
    assert [entry["outcome"] for entry in job.refresh().attempt_log] == ["failed"]


@pytest.mark.parametrize("arity", [1, 2, 3])
def test_a_handler_that_ignores_its_stop_loses_its_slot_and_its_job_anyway(queue: Any, arity: int) -> None:
    # Given one slot, with a handler that waits without a word, and swallows what stops it
    go_on, ended = threading.Event(), threading.Event()

    def work(job: Any) -> str:
        if job.data["quick"]:
            return "quick"
        try:
            go_on.wait(LIMIT_S)
        except kue.JobInterrupt:
            pass
        ended.set()
        return "too late"

    def with_done(job: Any, done: Any) -> None:
        done(None, work(job))

    def with_context(job: Any, ctx: Any, done: Any) -> None:
        done(None, work(job))

    queue.process("deaf", 1, (work, with_done, with_context)[arity - 1])
    job = queue.create("deaf", {"quick": False}, ttl=100)
    heard = Heard(job)
    job.save()
    following = queue.create("deaf", {"quick": True}).save()

    # Then the next job runs though the handler may be there yet, and what that says in the end is nothing
    assert following.wait(LIMIT_S) == "quick"
    go_on.set()
    assert ended.wait(LIMIT_S)
    assert queue.create("deaf", {"quick": True}).save().wait(LIMIT_S) == "quick"
    job.refresh()
    assert (job.state, job.error, job.result) == ("failed", "TTL exceeded", None)
    assert heard.events == {"enqueue": 1, "start": 1, "ttl exceeded": 1, "failed": 1}


def test_a_handler_that_left_its_work_to_others_is_over_when_its_ttl_is(queue: Any) -> None:
    later: list[Any] = []

    @queue.process("later")
    def start(job: Any, done: Any) -> None:
        if job.data["quick"]:
            done(None, "quick")
        else:
            later.append(done)

    job = queue.create("later", {"quick": False}, ttl=100).save()
    following = queue.create("later", {"quick": True}).save()
    assert following.wait(LIMIT_S) == "quick"
    later[0](None, "too late")
    assert queue.create("later", {"quick": True}).save().wait(LIMIT_S) == "quick"
    assert (job.refresh().state, job.result) == ("failed", None)


def test_done_may_be_called_from_a_true_thread(queue: Any) -> None:
    @queue.process("aside")
    def aside(job: Any, done: Any) -> None:
        def work() -> None:
            green.real_sleep(0.02)
            done(None, "done")

        green.real_thread(work)

    queue.create("aside").save().wait(LIMIT_S)  # the connections are there
    began_at = time.monotonic()
    for _ in range(10):
        assert queue.create("aside").save().wait(LIMIT_S) == "done"
    assert time.monotonic() - began_at < 8  # ten seconds, where nobody hears it


@pytest.mark.parametrize("swallow", [False, True])
def test_a_cancelled_handler_is_stopped_within_a_second_and_can_clean_up(queue: Any, swallow: bool) -> None:
    began, cleaned = threading.Event(), threading.Event()

    @queue.process("work")
    def work(job: Any) -> str:
        if job.data["quick"]:
            return "quick"
        began.set()
        try:
            busy(job)
        except kue.JobCancelled:
            if not swallow:
                raise
        finally:
            cleaned.set()
        return "done all the same"

    job = queue.create("work", {"quick": False}, attempts=3)
    heard = Heard(job)
    job.save()
    assert began.wait(LIMIT_S)

    asked = time.monotonic()
    job.cancel()

    assert cleaned.wait(LIMIT_S)
    assert time.monotonic() - asked < 8  # under a second where nothing else runs
    assert queue.create("work", {"quick": True}).save().wait(LIMIT_S) == "quick"
    job.refresh()
    assert (job.state, job.error, job.attempts_made) == ("failed", "Cancelled", 0)
    wait_until(lambda: heard.events["failed"], LIMIT_S)
    assert heard.events == {"enqueue": 1, "start": 1, "cancel": 1, "failed": 1}


def test_a_job_released_at_the_end_of_its_worker_waits_again_uncounted(queue: Any, redis_url: str) -> None:
    began, raised = threading.Event(), []
    first = kue.create_queue(redis_url)

    @first.process("work")
    def work(job: Any) -> None:
        began.set()
        try:
            busy(job)
        except BaseException as exc:
            raised.append(type(exc))
            raise

    job = queue.create("work", {}, attempts=1).save()
    assert began.wait(LIMIT_S)
    first.shutdown(0.05)

    job.refresh()
    assert (job.state, job.attempts_made) == ("inactive", 0)
    assert queue.log(job.id)[-1] == "Released: its worker stopped."
    assert [entry["outcome"] for entry in job.attempt_log] == ["released"]
    if green.enabled():
        wait_until(lambda: raised == [kue.WorkerStopping], LIMIT_S)
    queue.process("work", lambda job: "by another")
    assert job.wait(LIMIT_S) == "by another"


@pytest.mark.parametrize("error", [kue.JobCancelled, kue.JobTimeout, SystemExit, GeneratorExit])
def test_a_handler_that_raises_such_a_thing_itself_has_failed(queue: Any, error: type[BaseException]) -> None:
    @queue.process("work")
    def work(job: Any) -> None:
        raise error("by myself")

    with pytest.raises(kue.JobFailed, match="by myself"):
        queue.create("work", {}).save().wait(LIMIT_S)
