"""When an outage begins and ends, as all connections together see it."""

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
    assert outage.away(LOST, now()) and outage.away(LOST, now())
    outage.back(now())
    outage.back(now())
    assert said() == ["Redis is away", "Redis is back"]


def test_a_connection_from_before_the_end_of_an_outage_begins_no_other(said: Callable[[], list[str]]) -> None:
    outage, old = Outage(), now()
    outage.away(LOST, old)
    outage.back(now())
    assert not outage.away(LOST, old)  # try again at once, by a new one
    assert outage.away(LOST, now())
    assert said() == ["Redis is away", "Redis is back", "Redis is away"]


def test_a_refusal_is_news_on_any_connection(said: Callable[[], list[str]]) -> None:
    outage, old = Outage(), now()
    outage.away(LOST, old)
    outage.back(now())
    assert outage.away(REFUSED, old)


def test_an_answer_to_a_call_from_before_the_outage_does_not_end_it(said: Callable[[], list[str]]) -> None:
    outage, early = Outage(), now()
    outage.away(LOST, now())
    outage.back(early)
    assert said() == ["Redis is away"]
    outage.back(now())
    assert said() == ["Redis is away", "Redis is back"]


def test_a_subscription_does_not_end_the_refusal_of_writes(said: Callable[[], list[str]]) -> None:
    outage = Outage()
    outage.away(REFUSED, now())
    outage.back(now(), writes=False)
    assert said() == ["Redis is away"]


def test_somebody_is_told_of_the_error_that_begins_it() -> None:
    outage, told = Outage(), []
    outage.on_away = told.append
    outage.away(LOST, now())
    outage.away(REFUSED, now())
    assert told == [LOST]
