"""A timedelta is accepted wherever a number of milliseconds or seconds is."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import kue
from kue import backoff

MINUTE = timedelta(minutes=1)


def test_the_options_of_a_job_are_stored_in_ms(queue: kue.Queue) -> None:
    # When a job is saved with timedeltas
    job = queue.create("t", delay=MINUTE, ttl=timedelta(seconds=1.5))
    job.backoff({"type": "exponential", "delay": timedelta(seconds=2), "maxDelay": timedelta(hours=1)}).save()
    # Then Redis holds what it holds for numbers
    raw = queue.get(job.id or 0).raw
    assert (raw["delay"], raw["ttl"]) == ("60000", "1500")
    assert raw["backoff"] == '{"type":"exponential","delay":2000,"maxDelay":3600000}'
    assert job.state == "delayed"


def test_a_fraction_of_a_ms_is_kept() -> None:
    assert backoff.check({"delay": timedelta(microseconds=1500)}) == {"delay": 1.5, "type": "fixed"}


def test_a_backoff_function_may_return_one() -> None:
    names = {"slow": lambda made, delay_ms: timedelta(seconds=made)}
    assert backoff.decide('{"name":"slow"}', 3, 0, names).delay == "3000"


def test_a_handler_may_ask_for_one(queue: kue.Queue) -> None:
    def later(job: kue.Job) -> str:
        if job.attempts_made == 0:
            raise kue.RetryLater(timedelta(milliseconds=20), "busy")
        return "done"

    queue.process("t", later)
    assert queue.create("t", attempts=2).save().wait(timedelta(seconds=20)) == "done"


def test_the_other_arguments_take_one(redis_url: str) -> None:
    with kue.create_queue(redis_url, lease_ms=timedelta(seconds=10)) as queue:
        queue.retain(max_age=timedelta(days=1))
        assert queue.retention()["complete"].max_age_ms == 86_400_000
        with pytest.raises(kue.WaitTimeout):
            queue.create("t").save().wait(timedelta(milliseconds=1))
        queue.shutdown(timedelta(seconds=1))


def nowhere(**options: Any) -> kue.Queue:
    return kue.create_queue("redis://127.0.0.1:1", **options)


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "delay": (lambda wrong: nowhere().create("t", delay=wrong), "delay must be a number of"),
    "ttl": (lambda wrong: nowhere().create("t", ttl=wrong), "ttl must be a number of"),
    "backoff": (lambda wrong: backoff.check({"delay": wrong}), "backoff delay must be a number"),
    "lease": (lambda wrong: nowhere(lease_ms=wrong), "lease_ms must be a number of"),
    "wait": (lambda wrong: nowhere().create("t").wait(wrong), "timeout_s must be a number of"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("wrong", [timedelta(seconds=-1), -1, math.nan, "5"], ids=str)
def test_what_is_no_duration_is_refused_in_one_sentence(name: str, wrong: Any) -> None:
    call, said = WRONG[name]
    with pytest.raises(kue.InvalidJob, match=said):
        call(wrong)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "5", None, True])
def test_a_handler_that_asks_for_no_duration_is_told(wrong: Any) -> None:
    with pytest.raises(kue.InvalidJob, match="RetryLater: delay_ms must be a number of milliseconds"):
        kue.RetryLater(wrong)


def test_a_time_that_has_passed_is_at_once() -> None:
    assert kue.RetryLater(timedelta(seconds=-5)).delay_ms == 0 == kue.RetryLater(-5).delay_ms
