"""When an outage begins and ends, across all connections."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest
from redis.exceptions import ConnectionError, ReadOnlyError

from kue.connection.outage_log import Outage

LOST, REFUSED = ConnectionError("lost"), ReadOnlyError("refused")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, "kue")
    return lambda: [" ".join(record.getMessage().split()[:3]) for record in caplog.records]


def now() -> float:
    time.sleep(0.002)  # so that no two moments are the same
    return time.monotonic()


def test_many_failures_are_one_outage_and_many_successes_one_end(said: Callable[[], list[str]]) -> None:
    outage = Outage()
    assert outage.failed(LOST, now()) and outage.failed(LOST, now())
    outage.succeeded(now())
    outage.succeeded(now())
    assert said() == ["Redis is unreachable", "Redis recovered after"]


def test_a_connection_from_before_the_end_of_an_outage_begins_no_other(said: Callable[[], list[str]]) -> None:
    outage, old = Outage(), now()
    outage.failed(LOST, old)
    outage.succeeded(now())
    assert not outage.failed(LOST, old)  # try again at once, by a new one
    assert outage.failed(LOST, now())
    assert said() == ["Redis is unreachable", "Redis recovered after", "Redis is unreachable"]


def test_a_refusal_is_news_on_any_connection(said: Callable[[], list[str]]) -> None:
    outage, old = Outage(), now()
    outage.failed(LOST, old)
    outage.succeeded(now())
    assert outage.failed(REFUSED, old)


def test_an_answer_to_a_call_from_before_the_outage_does_not_end_it(said: Callable[[], list[str]]) -> None:
    outage, early = Outage(), now()
    outage.failed(LOST, now())
    outage.succeeded(early)
    assert said() == ["Redis is unreachable"]
    outage.succeeded(now())
    assert said() == ["Redis is unreachable", "Redis recovered after"]


def test_a_subscription_does_not_end_the_refusal_of_writes(said: Callable[[], list[str]]) -> None:
    outage = Outage()
    outage.failed(REFUSED, now())
    outage.succeeded(now(), writes=False)
    assert said() == ["Redis refuses commands"]


def test_somebody_is_told_of_the_error_that_begins_it() -> None:
    outage, told = Outage(), []
    outage.on_unreachable = told.append
    outage.failed(LOST, now())
    outage.failed(REFUSED, now())
    assert told == [LOST]
