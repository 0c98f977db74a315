"""Backoff: which forms are accepted, and how long each attempt waits."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kue.backoff import Retry, check, decide
from kue.errors import InvalidJob


@pytest.mark.parametrize(
    ("given_form", "stored"),
    [
        (None, None),
        (False, None),
        (True, True),
        ("fixed", {"type": "fixed"}),
        ("exponential", {"type": "exponential"}),
        ({"type": "fixed", "delay": 5}, {"type": "fixed", "delay": 5}),
        ({"delay": 5}, {"delay": 5, "type": "fixed"}),
        ({"type": "exponential", "delay": None}, {"type": "exponential"}),
        ({"type": "exponential", "maxDelay": 9, "jitter": 0.5}, {"type": "exponential", "maxDelay": 9, "jitter": 0.5}),
    ],
)
def test_a_form_is_stored_as_kue_reads_it(given_form: Any, stored: Any) -> None:
    assert check(given_form) == stored


def test_the_order_of_the_members_is_kept() -> None:
    assert list(check({"delay": 5, "type": "exponential"}) or {}) == ["delay", "type"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        "unknown",
        7,
        [],
        {"type": "linear"},
        {"delay": -1},
        {"delay": True},
        {"delay": "5"},
        {"jitter": 1.5},
        {"maxDelay": -1},
        {"every": 5},
    ],
)
def test_a_form_that_kue_would_not_understand_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidJob):
        check(wrong)


def test_a_registered_name_travels_as_a_fixed_backoff() -> None:
    assert check("square", {"square": lambda made, ms: made * made}) == {"type": "fixed", "name": "square"}


def test_without_a_backoff_the_next_attempt_comes_at_once() -> None:
    assert decide(None, 1, 500, {}) == Retry("now")
    assert decide("", 1, 500, {}) == Retry("now")


@pytest.mark.parametrize(
    ("backoff", "attempt", "delay_ms", "waits"),
    [
        (True, 1, 70, "70"),
        (True, 1, None, ""),
        ({"type": "fixed"}, 2, 70, "70"),
        ({"type": "fixed", "delay": 30}, 2, 70, "30"),
        ({"type": "fixed"}, 1, None, ""),
        ({"type": "exponential", "delay": 100}, 1, None, "50"),
        ({"type": "exponential", "delay": 100}, 2, None, "150"),
        ({"type": "exponential", "delay": 100}, 3, None, "350"),
        ({"type": "exponential", "delay": 100, "maxDelay": 200}, 3, None, "150"),
        ({"type": "exponential"}, 1, 100, "50"),
        ({"type": "exponential"}, 1, None, ""),
    ],
)
def test_an_attempt_waits_as_long_as_in_node(backoff: Any, attempt: int, delay_ms: int | None, waits: str) -> None:
    assert decide(json.dumps(backoff), attempt, delay_ms, {}) == Retry("wait", waits)


def test_a_registered_function_gets_the_attempt_and_the_delay() -> None:
    retry = decide('{"type":"fixed","name":"sum"}', 2, 40, {"sum": lambda made, ms: made * 1000 + ms})
    assert retry == Retry("wait", "2040")


def test_a_negative_answer_of_a_function_waits_no_time() -> None:
    assert decide('{"type":"fixed","name":"minus"}', 1, 0, {"minus": lambda made, ms: -5}).delay == "0"


def test_what_cannot_be_computed_uses_the_jobs_delay_and_says_so() -> None:
    def broken(made: int, ms: int) -> float:
        raise ValueError("no idea")

    for text, names in (
        ("function (attempts) { return 1 }", {}),
        ('{"type":"fixed","name":"absent"}', {}),
        ('{"type":"fixed","name":"broken"}', {"broken": broken}),
    ):
        retry = decide(text, 1, 25, names)
        assert (retry.retry, retry.delay) == ("wait", "25")
        assert "using the job's delay" in retry.note


@given(st.integers(1, 50), st.integers(1, 10_000), st.floats(0.01, 1))
def test_jitter_stays_within_its_share(attempt: int, delay: int, jitter: float) -> None:
    retry = decide(json.dumps({"type": "fixed", "delay": delay, "jitter": jitter}), attempt, None, {})
    assert delay * (1 - jitter) * 0.999 <= float(retry.delay) <= delay * (1 + jitter) * 1.001


@given(st.text(max_size=60), st.integers(1, 5000), st.one_of(st.none(), st.integers(0, 10**6)))
def test_any_text_gives_a_decision(text: str, attempt: int, delay_ms: int | None) -> None:
    assert decide(text, attempt, delay_ms, {}).retry in ("now", "wait")
