"""What producers and operators do with jobs: events, many at once, ranges, counts, moving, cancelling, removing."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

import kue
from tests.support import wait_until

LIMIT_S = 10.0


class Held:
    """A handler that runs until the test lets it go."""

    def __init__(self, queue: Any) -> None:
        self.started, self.free, self.left = threading.Event(), threading.Event(), threading.Event()
        queue.process("held", 1, self)

    def __call__(self, job: Any) -> str:
        self.started.set()
        try:
            self.free.wait(LIMIT_S)
            return "late"
        finally:
            self.left.set()


def test_a_listener_from_before_save_misses_no_event(queue: Any) -> None:
    # Given a job with listeners that is not saved yet, and a worker that waits for it
    heard: list[str] = []
    ended = threading.Event()
    queue.process("t", 1, lambda job: (job.progress(1, 2), "r")[1])
    job = queue.create("t")
    for event in ("enqueue", "start", "progress"):
        job.on(event, lambda *args, event=event: heard.append(event))
    job.on("complete", lambda result, *rest: (heard.append(f"complete {result}"), ended.set()))
    # When it is saved
    job.save()
    # Then all of its events are heard, in order
    assert ended.wait(LIMIT_S)
    assert heard == ["enqueue", "start", "progress", "complete r"]


def test_a_queue_and_a_subscriber_receive_the_events_of_every_job(queue: Any, redis_url: str) -> None:
    # Given a listener in another queue object
    other = kue.create_queue(redis_url)
    completed: list[tuple[Any, ...]] = []
    events: list[tuple[Any, str]] = []
    ended = threading.Event()
    other.on("job complete", lambda *args: completed.append(args))
    unsubscribe = other.subscribe(
        lambda event: (events.append((event.id, event.event)), event.event == "complete" and ended.set())
    )
    # When a job runs
    queue.process("t", 1, lambda job: 7)
    job = queue.create("t").save()
    # Then both are told
    assert ended.wait(LIMIT_S)
    wait_until(lambda: completed, LIMIT_S)
    unsubscribe()
    other.close()
    assert completed[0][:2] == (job.id, 7)
    assert [event for event in events if event[0] == job.id] == [
        (job.id, "enqueue"), (job.id, "start"), (job.id, "complete"),
    ]  # fmt: skip


def test_an_unknown_queue_event_is_refused(queue: Any) -> None:
    with pytest.raises(kue.InvalidJob):
        queue.on("job done", print)


def test_many_jobs_are_created_in_the_order_given(queue: Any) -> None:
    jobs = queue.create_many([{"type": "t", "data": {"n": n}, "priority": "high"} for n in range(2500)])
    assert [job.id for job in jobs] == list(range(jobs[0].id, jobs[0].id + 2500))
    assert queue.get(jobs[1700].id).data == {"n": 1700}
    assert queue.inactive_count("t") == 2500


def test_none_of_many_jobs_is_created_if_one_is_wrong(queue: Any) -> None:
    for wrong in ({"data": {}}, {"type": "t", "priority": "soon"}, {"type": "t", "data": {"x": object()}}):
        with pytest.raises(kue.InvalidJob):
            queue.create_many([{"type": "t"}, wrong])
    assert queue.counts() == dict.fromkeys(("inactive", "active", "complete", "failed", "delayed"), 0)


def test_ranges_and_counts_show_what_is_there(queue: Any) -> None:
    # Given jobs of two types, one of them delayed
    first, second = queue.create("a").save(), queue.create("b", priority="low").save()
    urgent, later = queue.create("a", priority="high").save(), queue.create("a", delay=60_000).save()
    # Then pages, counts and types tell of them
    assert queue.types() == ["a", "b"]
    assert {job.id for job in queue.range(0, -1)} == {first.id, second.id, urgent.id, later.id}
    assert [job.id for job in queue.range(0, 0)] == [urgent.id]
    assert [job.id for job in queue.range_by_state("inactive", 0, -1)] == [first.id, second.id, urgent.id]
    assert [job.id for job in queue.range_by_state("inactive", 0, -1, "desc")] == [urgent.id, second.id, first.id]
    assert [job.id for job in queue.range_by_type("a", "inactive", 0, 9)] == [first.id, urgent.id]
    assert queue.counts() == {"inactive": 3, "active": 0, "complete": 0, "failed": 0, "delayed": 1}
    assert queue.counts("a")["inactive"] == 2 and queue.card("delayed") == queue.delayed_count("a") == 1
    assert queue.inactive() == [urgent.id, first.id, second.id]
    assert queue.delayed() == [later.id]


def test_a_changed_priority_changes_the_rank(queue: Any) -> None:
    first, second = queue.create("t").save(), queue.create("t").save()
    queue.set_priority(second.id, -3)
    assert queue.inactive() == [second.id, first.id]
    assert queue.get(second.id).options.priority == -3


def test_a_saved_job_may_be_saved_again(queue: Any) -> None:
    job = queue.create("t", {"n": 1}).save()
    job.data["n"] = 2
    job.attempts(4).save()
    read = queue.get(job.id)
    assert (read.data, read.options.attempts, read.state) == ({"n": 2}, 4, "inactive")


def test_a_removed_job_is_gone(queue: Any, redis_client: Any) -> None:
    job = queue.create("t").save()
    queue.remove(job.id)
    for call in (queue.get, queue.remove, queue.cancel, queue.retry):
        with pytest.raises(kue.JobNotFound):
            call(job.id)
    with pytest.raises(kue.JobNotFound):
        job.wait(1)
    assert not redis_client.exists(f"q:job:{job.id}", "q:jobs", "q:jobs:inactive")


def test_a_completed_job_that_asked_for_it_is_removed(queue: Any) -> None:
    removed = threading.Event()
    queue.process("t", 1, lambda job: 1)
    job = queue.create("t", remove_on_complete=True)
    queue.on("job remove", lambda *args: removed.set())
    job.save()
    assert removed.wait(LIMIT_S)
    with pytest.raises(kue.JobNotFound):
        queue.get(job.id)


def test_a_cancelled_waiting_job_never_runs(queue: Any) -> None:
    job = queue.create("t").save()
    assert queue.cancel(job.id) == "inactive"
    with pytest.raises(kue.JobFailed, match="Cancelled"):
        job.wait(1)
    ran: list[int] = []
    queue.process("t", 1, lambda job: ran.append(job.id))
    queue.create("t").save().wait(LIMIT_S)
    assert job.id not in ran
    with pytest.raises(kue.WrongState):
        queue.cancel(job.id)


@pytest.mark.parametrize(
    ("act", "state"),
    [
        (lambda queue, job_id: queue.cancel(job_id), "failed"),
        (lambda queue, job_id: queue.set_state(job_id, "failed"), "failed"),
        (lambda queue, job_id: queue.set_state(job_id, "complete"), "complete"),
        (lambda queue, job_id: queue.set_state(job_id, "delayed"), "delayed"),
    ],
)
def test_a_running_job_taken_away_is_not_changed_by_its_late_completion(queue: Any, act: Any, state: str) -> None:
    # Given a running job
    held = Held(queue)
    job = queue.create("held").save()
    assert held.started.wait(LIMIT_S)
    queue.quiet()  # nothing may run it again
    # When somebody takes it away, and its handler returns late
    assert act(queue, job.id) == "active"
    held.free.set()
    assert held.left.wait(LIMIT_S)
    wait_until(lambda: not queue.running(), LIMIT_S)
    # Then nothing of the late attempt is kept
    read = queue.get(job.id)
    assert read.result is None and "result" not in read.raw
    # (what is moved to delayed is due at once)
    assert read.state in (state, "inactive" if state == "delayed" else state)


@pytest.mark.parametrize(
    ("event", "args"), [("failed", '"first",null'), ("complete", '"first",null'), ("remove", '"t"')]
)
def test_a_wait_is_not_ended_by_an_event_of_an_earlier_run(
    queue: Any, redis_client: Any, event: str, args: str
) -> None:
    # Given somebody who waits for a job that was retried, and is in line
    job = queue.create("t").save()
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(queue.get(job.id).wait(LIMIT_S)))
    waiting.start()
    wait_until(lambda: queue._store.listener._waits)
    # When the last event of its earlier run arrives late
    heard = threading.Event()
    queue.on(f"job {event}", lambda *_: heard.set())
    redis_client.publish("q:events", f'{{"id":{job.id},"event":"{event}","args":["{event}",{args}]}}')
    assert heard.wait(LIMIT_S)
    # Then the wait goes on until the run that counts is over
    waiting.join(0.1)
    assert waiting.is_alive() and not results
    queue.process("t", 1, lambda job: "second")
    waiting.join(LIMIT_S)
    assert results == ["second"]


def test_a_wait_knows_the_result_of_a_job_that_is_removed_when_it_completes(queue: Any) -> None:
    job = queue.create("t", remove_on_complete=True).save()
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(job.wait(LIMIT_S)))
    waiting.start()
    wait_until(lambda: queue._store.listener._waits)
    queue.process("t", 1, lambda job: "result")
    waiting.join(LIMIT_S)
    assert results == ["result"]


def test_a_failed_job_can_be_retried(queue: Any) -> None:
    outcomes = [RuntimeError("first"), None]

    @queue.process("t")
    def handler(job: Any) -> str:
        error = outcomes.pop(0)
        if error:
            raise error
        return "second"

    job = queue.create("t").save()
    with pytest.raises(kue.JobFailed):
        job.wait(LIMIT_S)
    queue.retry(job.id)
    assert job.wait(LIMIT_S) == "second"
    with pytest.raises(kue.WrongState):
        queue.retry(job.id)


def test_two_queues_with_different_prefixes_share_nothing(redis_url: str, redis_client: Any) -> None:
    # Given two queues on one server
    one, two = kue.create_queue(redis_url, "one"), kue.create_queue(redis_url, "two")
    try:
        heard: list[Any] = []
        two.subscribe(heard.append)
        # When a job of the first runs
        one.process("t", 1, lambda job: "one")
        job = one.create("t").save()
        assert job.wait(LIMIT_S) == "one"
        # Then the second knows nothing of it, and a job of its own has the same id
        assert two.types() == [] and two.counts()["complete"] == 0
        with pytest.raises(kue.JobNotFound):
            two.get(job.id)
        assert two.create("t").save().id == job.id
        wait_until(lambda: heard, LIMIT_S)
        assert [event.event for event in heard if event.id is not None] == ["enqueue"]
        assert one.counts()["inactive"] == 0
        assert all(key.startswith(("one:", "two:")) for key in redis_client.keys())
    finally:
        one.shutdown(2)
        two.close()


def test_what_cannot_be_a_job_is_refused_with_a_hint(queue: Any) -> None:
    for options in ({"attempts": -1}, {"delay": -1.5}, {"ttl": True}, {"priority": "soon"}, {"speed": 1}):
        with pytest.raises(kue.InvalidJob):
            queue.create("t", **options)
    with pytest.raises(kue.InvalidJob):
        queue.create(7)
    with pytest.raises(kue.InvalidJob):
        queue.create("t", {1, 2}).save()
    with pytest.raises(kue.InvalidJob):
        queue.set_state(1, "sleeping")


def test_a_paused_type_is_left_alone_until_it_is_resumed(queue: Any) -> None:
    # Given a paused type and one that is not, whose job comes later
    queue.pause("held back")
    ran: list[str] = []
    for name in ("held back", "free"):
        queue.process(name, 1, lambda job: ran.append(job.type))
    waiting = queue.create("held back").save()
    # When the other one's job has run
    queue.create("free").save().wait(LIMIT_S)
    # Then the paused one waits, and runs once it may
    assert ran == ["free"] and queue.paused() == ["held back"]
    queue.resume("held back")
    waiting.wait(LIMIT_S)
    assert ran == ["free", "held back"]


def test_the_concurrency_can_be_raised_while_jobs_run(queue: Any) -> None:
    # Given one slot, taken by a job that waits for a second one to run beside it
    both = threading.Barrier(2)
    queue.process("t", 1, lambda job: both.wait(LIMIT_S) >= 0)
    jobs = queue.create_many([{"type": "t"}] * 2)
    wait_until(lambda: queue.running(), LIMIT_S)
    # When there are two slots
    assert queue.concurrency("t", 2) == 2
    # Then both run
    assert [job.wait(LIMIT_S) for job in jobs] == [True, True]
    with pytest.raises(kue.InvalidJob):
        queue.concurrency("unknown", 2)


def test_concurrency_can_be_raised_while_every_slot_is_out_on_a_reservation(queue: Any) -> None:
    queue.process("work", 1, lambda job: "done")
    engine = queue._worker.engine
    # Given that a call under way carries the only slot: none is free, and no job runs
    with engine._lock:
        known = engine._types["work"]
        out, known.free = known.free, []
    try:
        # When, Then
        assert queue.concurrency("work", 3) == 3
    finally:
        with engine._lock:
            known.free += out
    assert queue.create("work", {}).save().wait(5) == "done"


def test_a_postponed_attempt_is_not_counted_and_says_why(queue: Any) -> None:
    tries: list[int] = []

    def put_off_once(job: Any) -> str:
        tries.append(1)
        if len(tries) == 1:
            raise kue.RetryLater(20, "no room", counts=False)
        return "done"

    queue.process("t", 1, put_off_once)
    job = queue.create("t", {}).save()
    assert job.wait(LIMIT_S) == "done"
    job.refresh()
    assert (job.attempts_made, job.error) == (1, None)
    assert [(entry["outcome"], entry["error"]) for entry in job.attempt_log] == [("postponed", "no room")]
    assert queue.log(job.id) == ["no room"]
    assert queue.log(job.id, 1) == []


def test_workers_tells_who_works_on_what(queue: Any) -> None:
    both = threading.Barrier(2)
    queue.process("t", 3, lambda job: both.wait(LIMIT_S) >= 0)
    job = queue.create("t", {}).save()
    wait_until(lambda: queue.running(), LIMIT_S)
    queue.concurrency("t", 4)  # which lets it tell anew
    expected = {"slots": 4, "busy": 1, "paused": False}
    worker = wait_until(
        lambda: next((each for each in queue.workers() if each["types"].get("t") == expected), None), LIMIT_S
    )
    assert worker["worker"] == f"kue:{worker['host']}:{os.getpid()}" and worker["pid"] == os.getpid()
    assert worker["started_at"] <= worker["seen_at"] and abs(worker["clock_off_ms"]) < 5000
    both.wait(LIMIT_S)
    job.wait(LIMIT_S)


def test_an_attempt_whose_lease_is_gone_frees_its_slot_and_is_stopped(queue: Any, redis_client: Any) -> None:
    stopped = threading.Event()
    begun = threading.Event()

    def hold(job: Any) -> None:
        if job.data.get("quick"):
            return
        begun.set()
        try:
            while not stopped.wait(0.01):
                job.log("on")
        except kue.JobInterrupt:
            stopped.set()
            raise

    queue.process("t", 1, hold)
    job = queue.create("t", {}).save()
    assert begun.wait(LIMIT_S)
    # When its lease goes without a word, as after a long freeze
    redis_client.zrem(queue.keys.leases, job.id)
    queue._worker.engine.heartbeat.beat_now()
    # Then the slot takes the next job
    assert queue.create("t", {"quick": True}).save().wait(LIMIT_S) is None
    stopped.set()


def test_a_failed_job_tells_where_it_failed_however_deep(queue: Any) -> None:
    def dig(depth: int) -> None:
        if depth == 0:
            raise ValueError("bottom")
        dig(depth - 1)

    queue.process("t", lambda job: dig(job.data["depth"]))
    for depth in (1, 500):
        job = queue.create("t", {"depth": depth}).save()
        with pytest.raises(kue.JobFailed, match="bottom"):
            job.wait(LIMIT_S)
        lines = job.refresh().error.splitlines()
        assert lines[0] == "ValueError: bottom"
        assert lines[1].startswith(f'  File "{__file__}", line ') and lines[-1] == '    raise ValueError("bottom")'
        assert "execution.py" not in job.error and len(lines) < 110
    assert "more …" in job.error


def test_a_job_cancelled_before_its_worker_knows_that_it_has_it_does_not_run(queue: Any) -> None:
    ran: list[int] = []
    queue.process("t", 1, lambda job: ran.append(job.id))
    engine: Any = queue._worker.engine
    cancelled: list[int] = []

    def cancelling(call: Any) -> Any:
        def cancel_in_between(*args: Any, **options: Any) -> Any:
            result = call(*args, **options)
            for reserved in result.jobs:
                if not cancelled:
                    cancelled.append(int(reserved.job_id))
                    queue.cancel(cancelled[0])
                    wait_until(lambda token=reserved.token: token in engine.attempts._early, LIMIT_S)
            return result

        return cancel_in_between

    for name in ("finish_and_reserve", "wait_and_reserve"):  # whichever brings the first
        setattr(queue.session.scripts, name, cancelling(getattr(queue.session.scripts, name)))
    first, second = queue.create("t", {}).save(), queue.create("t", {}).save()
    second.wait(LIMIT_S)  # the slot is free
    assert (cancelled, ran) == ([first.id], [second.id])
    assert first.refresh().error == "Cancelled"
    assert not engine.attempts._early
