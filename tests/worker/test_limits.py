"""Workers under limits: rate-limited handlers, workers waiting for a bucket, and other keys overtaking."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

import kue
from kue.concurrency import green
from tests.support import wait_until

ASYNC = pytest.param(True, marks=pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process"))


@pytest.mark.parametrize("is_async", [False, ASYNC])
def test_a_rate_limited_handler_uses_no_attempt_and_holds_back_its_key(queue: kue.Queue, is_async: bool) -> None:
    queue.limit("crawl", by="data.host", concurrency=3)
    jobs = queue.create_many({"type": "crawl", "data": {"host": host}, "attempts": 2} for host in "aab")
    begun: list[tuple[Any, float]] = []

    def crawl(job: Any) -> None:
        begun.append((job.id, time.monotonic()))
        if len([each for each in begun if each[0] == jobs[0].id]) == 1 and job.id == jobs[0].id:
            raise kue.RateLimited(timedelta(milliseconds=600))

    async def crawl_async(job: Any) -> None:
        await asyncio.sleep(0)
        crawl(job)

    queue.process("crawl", 1, crawl_async if is_async else crawl)
    wait_until(lambda: queue.complete_count() == 3, 15)
    order = [job_id for job_id, _ in begun]
    assert order == [jobs[0].id, jobs[2].id, jobs[0].id, jobs[1].id]
    assert begun[2][1] - begun[0][1] > 0.55  # by the server's clock, so a little may be missing by ours
    assert jobs[0].refresh().attempts_made == 1 and jobs[0].attempt_log[0]["error"] == "rate limited"


def test_without_a_limit_by_key_the_type_is_held_back(queue: kue.Queue) -> None:
    other = threading.Event()
    begun: list[Any] = []
    held: list[int] = []

    def mail(job: Any) -> None:
        begun.append(job.id)
        if len(begun) == 1:
            raise kue.RateLimited(700, "429 Too Many Requests")

    jobs = queue.create_many({"type": "mail"} for _ in range(2))
    queue.process("mail", 1, mail)
    held += wait_until(lambda: [each["held_ms"] for each in queue.limits()])
    queue.process("other", 1, lambda job: other.set())
    queue.create("other").save()
    assert other.wait(5)
    assert 0 < held[0] <= 700 and begun[0] == jobs[0].id
    wait_until(lambda: queue.complete_count() == 3, 15)
    wait_until(lambda: queue.limits() == [])


def test_a_worker_waits_for_the_bucket_and_for_new_keys_alike(queue: kue.Queue) -> None:
    queue.limit("crawl", by="data.host", rate="1/2s")
    begun: dict[Any, float] = {}
    queue.process("crawl", 1, lambda job: begun.setdefault(job.id, time.monotonic()))
    first, second = queue.create_many({"type": "crawl", "data": {"host": "a"}} for _ in range(2))
    wait_until(lambda: first.id in begun)
    other = queue.create("crawl", {"host": "b"}).save()
    wait_until(lambda: other.id in begun)
    wait_until(lambda: second.id in begun, 15)
    assert begun[other.id] < begun[second.id] and begun[second.id] - begun[first.id] > 1.9


def test_a_changed_limit_applies_at_once(queue: kue.Queue) -> None:
    queue.limit("mail", rate="1/h")
    queue.create_many({"type": "mail"} for _ in range(20))
    queue.process("mail", 2, lambda job: None)
    wait_until(lambda: queue.complete_count() == 1)
    queue.limit("mail", rate="1000/s")
    wait_until(lambda: queue.complete_count() == 20, 15)
    assert queue.limits()[0]["admitted"] == 20
