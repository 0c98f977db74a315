"""Schedules on a real server: each time creates one job, whichever process fires it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

import kue
from kue.schedules.firing import Firing
from tests.support import wait_until
from tests.support.consistency import inconsistencies


def fired(client: redis.Redis, name: str) -> Counter[int]:
    """Return the times of a schedule for which there are jobs, with their number."""
    found = (client.hgetall(key) for key in client.scan_iter("q:job:*") if key.count(":") == 2 and key != "q:job:types")
    return Counter(int(job["occurrence"]) for job in found if job.get("schedule") == name)


@pytest.fixture
def producer(redis_url: str) -> Iterator[kue.Queue]:
    """A queue that works on nothing, so that only the test fires."""
    with kue.create_queue(redis_url) as queue:
        yield queue


@pytest.fixture
def fire(producer: kue.Queue, monkeypatch: pytest.MonkeyPatch) -> Callable[..., float]:
    """Fire what is due, as a worker does, at the server's time or some ms later."""
    firing = Firing(producer.session, producer._store, lambda: None)
    run = producer.session.scripts.run
    shift_ms = 0

    def shifted(client: Any, name: str, *args: object, now_ms: int = 0) -> Any:
        return run(client, name, *args, now_ms=now_ms or (producer.server_ms() + shift_ms if shift_ms else 0))

    def each(client: Any, name: str, calls: list[list[object]]) -> list[Any]:
        return [shifted(client, name, *call) for call in calls]

    monkeypatch.setattr(producer.session.scripts, "run", shifted)
    monkeypatch.setattr(producer.session.scripts, "run_each", each)

    def fire(later_ms: int = 0) -> float:
        nonlocal shift_ms
        shift_ms = later_ms
        try:
            return firing.run(producer.session.connector.shared())
        finally:
            shift_ms = 0

    return fire


def test_a_scheduled_job_has_its_options_and_says_what_it_comes_from(queue: kue.Queue) -> None:
    # Given a schedule with a job's options, and a worker
    ran: list[Any] = []
    queue.process("report", lambda job: ran.append(job))
    queue.schedule("often", "report", {"of": "x"}, cron="* * * * * *", priority="high", attempts=3, ttl=60_000,
                   title="Report")  # fmt: skip
    # Then its first job comes at its time
    wait_until(lambda: ran, 5)
    job = queue.get(ran[0].id)
    assert (job.schedule, job.data) == ("often", {"of": "x", "title": "Report"})
    assert (job.options.priority, job.options.attempts, job.options.ttl_ms) == (-10, 3, 60_000)
    assert job.occurrence is not None and job.occurrence % 1000 == 0
    assert 0 <= (job.created_at or 0) - job.occurrence <= 1000
    # And the schedule tells of it
    saved = queue.get_schedule("often")
    assert saved.runs[-1].job_id == job.id and saved.runs[-1].at == job.occurrence
    assert saved.count >= 1 and saved.next_at is not None and saved.upcoming(3)[0] == saved.next_at


def test_a_process_without_workers_fires_nothing_and_one_with_others_does(
    producer: kue.Queue, redis_url: str, redis_client: redis.Redis
) -> None:
    producer.schedule("s", "nobody", every=200, overlap="allow", missed="all")
    time.sleep(0.5)
    assert producer.card("inactive") == 0
    # A worker of another type creates the jobs all the same
    with kue.create_queue(redis_url) as other:
        other.process("other", lambda job: None)
        wait_until(lambda: producer.card("inactive") >= 4, 5)
    assert inconsistencies(redis_client) == []


@pytest.mark.serial
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.long), 4])
def test_it_fires_within_200_ms(redis_url: str, redis_client: redis.Redis, workers: int) -> None:
    queues = [kue.create_queue(redis_url) for _ in range(workers)]
    try:
        for queue in queues:
            queue.process("t", lambda job: None)
        for number in range(20):
            queues[0].schedule(f"s{number}", "t", every=300, overlap="allow", missed="all")
        wait_until(lambda: all(each.count >= 3 for each in queues[0].schedules()), 10)
    finally:
        for queue in queues:
            queue.shutdown(5)
    saved = queues[0].schedules()
    late_ms = sorted(run.late_ms for each in saved for run in each.runs)
    assert late_ms[int(len(late_ms) * 0.95)] <= 200, late_ms
    for each in saved:
        times = fired(redis_client, each.name)
        assert set(times.values()) == {1} and len(times) == each.count
        first = min(times)
        assert sorted(times) == [first + 300 * number for number in range(len(times))]


def test_a_repeated_call_changes_nothing(producer: kue.Queue, redis_client: redis.Redis, fire: Any) -> None:
    producer.schedule("s", "t", every=60_000)
    calls: list[list[object]] = []
    scripts = producer.session.scripts
    each = scripts.run_each
    scripts.run_each = lambda client, name, asked: (calls.extend(asked), each(client, name, asked))[1]  # type: ignore
    fire(60_001)
    assert len(calls) == 1 and producer.card("inactive") == 1
    before = {key: redis_client.dump(key) for key in redis_client.scan_iter("*")}
    # Its answer was lost: it is sent again, soon or much later
    client = producer.session.connector.shared()
    for late in (0, 600_000):
        assert scripts.run(client, "fire_schedule", *calls[0], now_ms=producer.server_ms() + late) == [0]
    assert {key: redis_client.dump(key) for key in redis_client.scan_iter("*")} == before


def test_overlap_skips_allows_or_replaces(producer: kue.Queue, fire: Any) -> None:
    for overlap in ("skip", "allow", "replace"):
        producer.schedule(overlap, overlap, every=60_000, overlap=overlap)
    for minute in range(1, 4):
        fire(minute * 60_001)
    counts = {name: producer.counts(name) for name in ("skip", "allow", "replace")}
    assert counts["skip"]["inactive"] == 1 and producer.get_schedule("skip").skipped == 2
    assert [run.job_id is None for run in producer.get_schedule("skip").runs] == [True, True, False]
    assert counts["allow"]["inactive"] == 3
    assert counts["replace"]["inactive"] == 1 and counts["replace"]["failed"] == 2
    replaced = producer.get(min(producer.failed()))
    assert replaced.error == "Cancelled" and "Replaced by job" in producer.log(replaced.id or 0)[0]
    # When the last job has ended, the next time comes again
    producer.cancel(producer.get_schedule("skip").last_job or 0)
    fire(4 * 60_001)
    assert producer.counts("skip")["inactive"] == 1 and producer.get_schedule("skip").count == 2


def test_a_job_that_runs_is_replaced(queue: kue.Queue) -> None:
    stopped, began = threading.Event(), threading.Event()

    @queue.process("slow", concurrency=2)
    def slow(job: Any) -> None:
        began.set()
        try:
            while True:
                time.sleep(0.01)
                job.progress(1)
        except kue.JobCancelled:
            stopped.set()
            raise

    queue.schedule("s", "slow", every=400, overlap="replace", limit=2)
    assert began.wait(5) and stopped.wait(5)
    wait_until(lambda: queue.get_schedule("s").ended, 5)
    queue.cancel(queue.get_schedule("s").last_job or 0)


def test_limit_end_and_at_end_a_schedule(producer: kue.Queue, fire: Any) -> None:
    now = datetime.fromtimestamp(producer.server_ms() / 1000, UTC)
    producer.schedule("limit", "t", every=60_000, limit=2, overlap="allow")
    producer.schedule("end", "t", every=60_000, end=now + timedelta(seconds=150), overlap="allow")
    producer.schedule("at", "t", at=now + timedelta(seconds=60))
    first = producer.get_schedule("limit").next_at or 0
    assert producer.get_schedule("limit").upcoming() == [first, first + 60_000]
    for minute in range(1, 5):
        fire(minute * 60_001)
    assert {each.name: (each.count, each.ended) for each in producer.schedules()} == {
        "limit": (2, True), "end": (2, True), "at": (1, True),
    }  # fmt: skip
    # The same again is no new schedule; another date is
    producer.schedule("at", "t", at=now + timedelta(seconds=60))
    assert producer.get_schedule("at").ended
    producer.schedule("at", "t", at=now + timedelta(seconds=600))
    assert not producer.get_schedule("at").ended


def test_a_date_that_has_passed_is_due_at_once(producer: kue.Queue, fire: Any) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    producer.schedule("at", "t", at=yesterday)
    producer.schedule("skipped", "t", at=yesterday, missed="skip")
    fire()
    assert (producer.get_schedule("at").count, producer.get_schedule("skipped").count) == (1, 0)
    assert producer.get_schedule("skipped").ended


def test_a_paused_schedule_fires_nothing_and_continues_with_its_next_time(producer: kue.Queue, fire: Any) -> None:
    producer.schedule("s", "t", every=60_000)
    assert producer.pause_schedule("s") and not producer.pause_schedule("s")
    fire(600_000)
    saved = producer.get_schedule("s")
    assert saved.paused and not saved.ended and saved.count == 0 and saved.next_at is None
    # It can be changed and run by hand meanwhile
    producer.schedule("s", "t", every=120_000)
    assert producer.get_schedule("s").paused
    job = producer.run_schedule_now("s")
    assert (job.schedule, job.state) == ("s", "inactive") and producer.get_schedule("s").runs[0].by_hand
    assert producer.resume_schedule("s") and not producer.resume_schedule("s")
    assert 0 < (producer.get_schedule("s").next_at or 0) - producer.server_ms() <= 120_000


def test_an_unchanged_schedule_keeps_its_next_time_and_a_changed_one_its_grid(producer: kue.Queue, fire: Any) -> None:
    first = producer.schedule("s", "t", {"a": 1}, every=60_000)
    time.sleep(0.02)
    assert producer.schedule("s", "t", {"a": 1}, every=timedelta(minutes=1)).next_at == first.next_at
    assert producer.schedule("s", "t", {"a": 2}, every=60_000).next_at == first.next_at
    assert producer.schedule("s", "t", {"a": 2}, every=61_000).next_at != first.next_at
    # A change right after a time has been handled does not bring it again
    producer.schedule("s", "t", cron="* * * * *", overlap="allow")
    due = producer.get_schedule("s").next_at or 0
    fire(due - producer.server_ms() + 5)
    assert (producer.schedule("s", "t", {"b": 1}, cron="* * * * *").next_at or 0) > due


def test_the_job_of_a_changed_schedule_is_the_new_one(producer: kue.Queue, fire: Any) -> None:
    producer.schedule("s", "t", {"a": 1}, every=60_000)
    producer.schedule("s", "u", {"a": 2}, every=60_000)
    fire(60_001)
    assert [producer.get(each).type for each in producer.inactive()] == ["u"]


def test_removing_a_schedule_leaves_its_jobs(producer: kue.Queue, redis_client: redis.Redis, fire: Any) -> None:
    producer.schedule("s", "t", every=60_000)
    fire(60_001)
    assert producer.unschedule("s") and not producer.unschedule("s")
    fire(600_000)
    assert producer.card("inactive") == 1 and producer.schedules() == []
    assert not redis_client.exists("q:schedules", "q:schedule:s")
    for call in (producer.get_schedule, producer.pause_schedule, producer.resume_schedule, producer.run_schedule_now):
        with pytest.raises(kue.ScheduleNotFound, match="'s' does not exist"):
            call("s")


def test_an_invalid_schedule_does_not_stop_others_from_firing(
    producer: kue.Queue, redis_client: redis.Redis, fire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "kue.schedules")
    for name in ("bad", "wrong", "good", "type"):
        producer.schedule(name, "broken" if name == "type" else "t", every=60_000)
    redis_client.hset("q:schedule:bad", "definition", '{"type":"t","cron":"not one"}')
    redis_client.delete("q:schedule:wrong")
    redis_client.set("q:schedule:wrong", "no hash")
    redis_client.set("q:jobs:broken:inactive", "no set")
    for minute in (1, 2):
        fire(minute * 60_001)
    good = producer.get_schedule("good")
    assert good.count == 1 and good.skipped == 1
    assert producer.get_schedule("type").last_job is None and producer.get_schedule("type").next_at is not None
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" cannot fire")[0] for line in said] == ["Schedule bad", "Schedule type"]
    assert "is invalid" in said[0] and "WRONGTYPE" in said[1]
    assert "wrong" not in redis_client.zrange("q:schedules", 0, -1)


def test_a_second_process_that_looks_first_after_a_step_back_chooses_anew(
    producer: kue.Queue, redis_client: redis.Redis, fire: Any
) -> None:
    # Given a schedule that fired while the clock was an hour ahead
    producer.schedule("s", "t", every=60_000, overlap="allow")
    first = producer.get_schedule("s").next_at or 0
    fire(3_600_000)
    ahead = producer.get_schedule("s").next_at or 0
    assert ahead > first + 3_000_000 and producer.get_schedule("s").count == 1
    # When a process looks after the clock was set back
    fire()
    # Then the schedule goes on as it would have, and what it fired then does not come again
    assert producer.get_schedule("s").next_at == first
    for minute in range(1, 70):
        fire(minute * 60_000 + 100)
    times = fired(redis_client, "s")
    assert set(times.values()) == {1} and len(times) >= 69


def test_a_schedule_that_is_created_during_a_process_s_first_poll_does_not_fire_at_once(producer: kue.Queue) -> None:
    client: Any = producer.session.connector.shared()

    class Slow:
        """Reads which schedules there are after one was created."""

        def zrange(self, *args: Any) -> Any:
            time.sleep(0.005)
            producer.schedule("s", "t", every=60_000)
            return client.zrange(*args)

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

    Firing(producer.session, producer._store, lambda: None).run(Slow())
    found = producer.get_schedule("s")
    assert found.next_at == found.anchor + 60_000
