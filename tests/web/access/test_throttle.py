"""Delays after failed logins."""

from __future__ import annotations

import pytest

from kue.web.access.throttle import COUNTERS_MAX, DELAY_MAX_S, FORGET_S, FREE_TRIES, LoginDelayed, Throttle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def wrong() -> bool:
    return False


def right() -> bool:
    return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(clock)


def wait_s(throttle: Throttle, address: str, user: str) -> float:
    """Return how long the next attempt has to wait; the attempt itself must not be looked at."""
    with pytest.raises(LoginDelayed) as caught:
        throttle.attempt(address, user, lambda: pytest.fail("it was looked at"))
    return caught.value.wait_s


def test_each_delay_is_twice_the_one_before_up_to_a_limit(throttle: Throttle, clock: Clock) -> None:
    for _ in range(FREE_TRIES):
        assert not throttle.attempt("192.0.2.1", "anna", wrong)
    waits = []
    for _ in range(9):
        waits.append(wait_s(throttle, "192.0.2.1", "anna"))
        clock.now += waits[-1]
        assert not throttle.attempt("192.0.2.1", "anna", wrong)
    # Rounded up, so that who waits as long as told is not refused again.
    assert [int(each) for each in waits] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert waits[-1] <= DELAY_MAX_S + 1


def test_an_attempt_that_is_refused_does_not_make_the_delay_longer(throttle: Throttle, clock: Clock) -> None:
    for _ in range(FREE_TRIES):
        throttle.attempt("192.0.2.1", "anna", wrong)
    for _ in range(20):
        wait_s(throttle, "192.0.2.1", "anna")
    clock.now += 1
    assert throttle.attempt("192.0.2.1", "anna", right)
    for _ in range(FREE_TRIES):  # begun anew
        assert not throttle.attempt("192.0.2.1", "anna", wrong)


def test_another_user_and_another_address_are_not_delayed(throttle: Throttle) -> None:
    for _ in range(FREE_TRIES):
        throttle.attempt("192.0.2.1", "anna", wrong)
    wait_s(throttle, "192.0.2.1", "anna")
    assert throttle.attempt("192.0.2.1", "eva", right)
    assert throttle.attempt("192.0.2.2", "anna", right)


def test_a_client_with_many_ipv6_addresses_is_one(throttle: Throttle) -> None:
    for number in range(FREE_TRIES):
        throttle.attempt(f"2001:db8::{number}", "anna", wrong)
    wait_s(throttle, "2001:db8::ffff", "anna")
    assert throttle.attempt("2001:db8:0:1::1", "anna", right)


def test_failures_are_forgotten(throttle: Throttle, clock: Clock) -> None:
    for _ in range(FREE_TRIES):
        throttle.attempt("192.0.2.1", "anna", wrong)
    clock.now += FORGET_S + 1
    for _ in range(FREE_TRIES - 1):
        assert not throttle.attempt("192.0.2.1", "anna", wrong)
    assert throttle.attempt("192.0.2.1", "anna", right)


def test_many_names_neither_fill_the_memory_nor_make_a_counter_forgotten(throttle: Throttle) -> None:
    for _ in range(FREE_TRIES):
        throttle.attempt("192.0.2.1", "anna", wrong)
    for number in range(5_000):
        try:
            throttle.attempt("192.0.2.1", f"name{number}", wrong)
        except LoginDelayed:
            pass
    assert len(throttle._failures) < 300 < COUNTERS_MAX
    wait_s(throttle, "192.0.2.1", "anna")
