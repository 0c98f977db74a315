"""A queue from end to end: producing, working, retrying, timing out."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import kue
from kue.storage.script_values import Reservation
from tests.support import wait_until

LIMIT_S = 10.0


def test_a_saved_job_runs_and_its_result_can_be_waited_for(queue: Any) -> None:
    # Given a handler
    queue.process("add", 1, lambda job: {"sum": job.data["a"] + job.data["b"]})
    # When a job is saved
    job = queue.create("add", {"a": 1, "b": 2}, title="one and two").save()
    # Then its result comes back, and the job tells of it
    assert job.wait(LIMIT_S) == {"sum": 3}
    read = queue.get(job.id)
    assert (read.state, read.result, read.data["title"]) == ("complete", {"sum": 3}, "one and two")
    assert read.attempts_made == 1 and read.progress_percent == 100 and read.worker_id


def test_a_handler_that_raises_fails_the_job(queue: Any) -> None:
    @queue.process("fail")
    def fail(job: Any) -> None:
        raise ValueError("no way")

    job = queue.create("fail").save()
    with pytest.raises(kue.JobFailed) as caught:
        job.wait(LIMIT_S)
    assert (caught.value.job_id, caught.value.error) == (job.id, "no way")
    read = queue.get(job.id)
    assert read.state == "failed" and read.error.startswith("ValueError: no way\n")


def test_waiting_gives_up_and_may_be_repeated(queue: Any) -> None:
    job = queue.create("t").save()
    with pytest.raises(kue.WaitTimeout):
        job.wait(0.01)
    queue.process("t", 1, lambda job: 5)
    assert job.wait(LIMIT_S) == 5


@pytest.mark.parametrize(
    "backoff", [None, True, {"type": "fixed", "delay": 20}, {"type": "exponential", "delay": 20}, "triple"]
)
def test_a_failing_job_is_tried_as_often_as_it_may(queue: Any, backoff: Any) -> None:
    # Given a handler that succeeds the third time
    queue.backoff("triple", lambda made, delay: made * 3)
    seen: list[int] = []

    @queue.process("flaky")
    def flaky(job: Any) -> int:
        seen.append(job.attempts_made)
        if len(seen) < 3:
            raise RuntimeError("not yet")
        return len(seen)

    # When a job with three attempts is saved
    job = queue.create("flaky", attempts=3, backoff=backoff).save()
    # Then the third attempt completes it
    assert job.wait(LIMIT_S) == 3
    assert seen == [0, 1, 2]
    attempts = queue.get(job.id).attempt_log
    assert [(entry["outcome"], entry["error"]) for entry in attempts] == [("failed", "not yet")] * 2
    for entry in attempts:
        assert entry["stack"].startswith("RuntimeError: not yet\n") and "in flaky" in entry["stack"]


def test_a_backoff_holds_the_next_attempt_back(queue: Any) -> None:
    @queue.process("fail")
    def fail(job: Any) -> None:
        raise RuntimeError("no")

    job = queue.create("fail", attempts=2, backoff={"type": "fixed", "delay": 60_000}).save()
    wait_until(lambda: queue.get(job.id).state == "delayed", LIMIT_S)
    read = queue.get(job.id)
    assert read.promote_at - read.failed_at == 60_000


def test_an_unrecoverable_error_ends_all_attempts(queue: Any) -> None:
    @queue.process("fail")
    def fail(job: Any) -> None:
        raise kue.UnrecoverableError("never")

    job = queue.create("fail", attempts=5).save()
    with pytest.raises(kue.JobFailed):
        job.wait(LIMIT_S)
    assert queue.get(job.id).attempts_made == 1


def test_a_handler_may_choose_when_to_be_tried_again(queue: Any) -> None:
    seen: list[int] = []

    @queue.process("later")
    def later(job: Any) -> str:
        seen.append(job.id)
        if len(seen) == 1:
            raise kue.RetryLater(10, "busy")
        return "done"

    assert queue.create("later", attempts=2).save().wait(LIMIT_S) == "done"


def test_a_delayed_job_is_promoted_when_its_time_has_come(queue: Any) -> None:
    queue.process("t", 1, lambda job: "ran")
    job = queue.create("t", delay=150).save()
    assert job.state == "delayed"
    assert job.wait(LIMIT_S) == "ran"
    read = queue.get(job.id)
    assert read.started_at - read.created_at >= 150


def test_promote_lets_a_delayed_job_run_now(queue: Any) -> None:
    queue.process("t", 1, lambda job: "ran")
    job = queue.create("t", delay=60_000).save()
    queue.promote(job.id)
    assert job.wait(LIMIT_S) == "ran"
    with pytest.raises(kue.WrongState):
        queue.promote(job.id)


def test_an_attempt_past_its_ttl_fails_and_what_it_says_later_counts_for_nothing(queue: Any) -> None:
    # Given a handler that outlives its ttl
    over, left = threading.Event(), threading.Event()

    @queue.process("slow")
    def slow(job: Any) -> str:
        try:
            over.wait(LIMIT_S)
            return "late"
        finally:
            left.set()

    # When a job with a short ttl is saved
    job = queue.create("slow", ttl=50).save()
    # Then it fails, also when the handler comes to its end
    with pytest.raises(kue.JobFailed, match="TTL exceeded"):
        job.wait(LIMIT_S)
    over.set()
    assert left.wait(LIMIT_S)
    assert (queue.get(job.id).state, queue.get(job.id).result) == ("failed", None)


def test_jobs_run_by_priority_and_then_in_the_order_they_came(queue: Any) -> None:
    order: list[int] = []
    jobs = [queue.create("t", priority=name).save() for name in ("low", "normal", "critical", "normal", "high", "low")]
    queue.process("t", 1, lambda job: order.append(job.id))
    for job in jobs:
        job.wait(LIMIT_S)
    assert order == [jobs[at].id for at in (2, 4, 1, 3, 0, 5)]


def test_never_more_jobs_run_than_the_concurrency_allows(queue: Any) -> None:
    # Given a handler that counts how many run
    lock, running, most = threading.Lock(), [0], [0]
    reached = threading.Event()

    def handler(job: Any) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
            if running[0] == 3:
                reached.set()
        reached.wait(LIMIT_S)
        with lock:
            running[0] -= 1

    # When many jobs come
    queue.process("t", 3, handler)
    jobs = queue.create_many([{"type": "t"}] * 40)
    for job in jobs:
        job.wait(LIMIT_S)
    # Then three ran at a time, and each once
    assert most[0] == 3
    assert queue.counts()["complete"] == 40


def test_a_handler_may_report_by_done(queue: Any) -> None:
    def with_done(job: Any, done: Any) -> None:
        done(None, {"two": True})

    def with_context(job: Any, ctx: Any, done: Any) -> None:
        threading.Thread(target=done, args=(None, "three")).start()

    def with_error(job: Any, done: Any) -> None:
        done("went wrong")

    queue.process("two", 1, with_done)
    queue.process("three", 1, with_context)
    queue.process("error", 1, with_error)
    assert queue.create("two").save().wait(LIMIT_S) == {"two": True}
    assert queue.create("three").save().wait(LIMIT_S) == "three"
    with pytest.raises(kue.JobFailed, match="went wrong"):
        queue.create("error").save().wait(LIMIT_S)


def test_a_handler_logs_and_reports_its_progress(queue: Any) -> None:
    @queue.process("t")
    def handler(job: Any) -> None:
        job.log("half of %s", {"a": 1})
        job.progress(1, 3, {"at": "b"})
        raise RuntimeError("stop")

    job = queue.create("t").save()
    with pytest.raises(kue.JobFailed):
        job.wait(LIMIT_S)
    read = queue.get(job.id)
    assert queue.log(job.id) == ['half of {"a":1}', "RuntimeError: stop"]
    assert (read.progress_percent, read.progress_data) == (33, {"at": "b"})


def test_shutdown_hands_running_jobs_back_without_counting_the_attempt(redis_url: str, queue: Any) -> None:
    # Given a worker whose job does not end
    worker = kue.create_queue(redis_url)
    started, free = threading.Event(), threading.Event()

    @worker.process("t")
    def stuck(job: Any) -> None:
        started.set()
        free.wait(LIMIT_S)

    job = queue.create("t").save()
    assert started.wait(LIMIT_S)
    # When it shuts down
    worker.shutdown(0.1)
    # Then the job waits again, and another worker completes it
    free.set()
    read = queue.get(job.id)
    assert (read.state, read.attempts_made) == ("inactive", 0)
    queue.process("t", 1, lambda job: "elsewhere")
    assert job.wait(LIMIT_S) == "elsewhere"


def test_a_job_whose_worker_never_renews_its_lease_is_rescued(queue: Any) -> None:
    # Given a job that a worker took and then died
    job = queue.create("t").save()
    reservation = Reservation({"t": [0]}, 1, "dead", "kue:gone:1")
    queue.session.call(lambda client: queue.session.scripts.reserve(client, reservation))
    # When other workers keep the queue up
    queue.process("t", 1, lambda job: "again")
    # Then it runs again
    assert job.wait(LIMIT_S) == "again"
    assert queue.get(job.id).rescues == 1
