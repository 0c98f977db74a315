"""Slots and rate, with a clock that only advances by sleeping."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from kue.downloads import DownloadLimits
from kue.downloads.limits import HostBusy
from tests.support import wait_until


class Clock:
    """A clock that only ``sleep`` moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def nothing() -> None:
    """Do nothing."""


def test_the_rate_holds_over_time_and_may_be_changed_while_running() -> None:
    clock = Clock()
    limits = DownloadLimits(rate=1000, clock=clock, sleep=clock.sleep)
    for _ in range(100):
        limits.throttle(100, nothing)
    assert clock.now - 100 == pytest.approx(10, rel=0.05)
    limits.rate = 10_000
    began = clock.now
    for _ in range(100):
        limits.throttle(100, nothing)
    assert clock.now - began == pytest.approx(1, rel=0.1)
    limits.rate = None
    began = clock.now
    limits.throttle(10**9, nothing)
    assert clock.now == began


def test_a_pause_is_not_made_good_by_a_burst() -> None:
    clock = Clock()
    limits = DownloadLimits(rate=1000, clock=clock, sleep=clock.sleep)
    clock.now += 3600
    began = clock.now
    limits.throttle(1000, nothing)
    assert clock.now - began >= 0.89


def test_a_long_wait_for_the_rate_lets_interrupts_through() -> None:
    clock = Clock()
    limits = DownloadLimits(rate=10, clock=clock, sleep=clock.sleep)

    class Stop(BaseException):
        pass

    def tick() -> None:
        raise Stop

    with pytest.raises(Stop):
        limits.throttle(1000, tick)
    assert clock.now < 101


def test_chunks_are_small_under_a_low_rate() -> None:
    limits = DownloadLimits()
    assert limits.chunk_bytes(262144) == 262144
    limits.rate = 50_000
    assert limits.chunk_bytes(262144) == 5000
    limits.rate = 1
    assert limits.chunk_bytes(262144) == 1024


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "3"])
def test_an_invalid_limit_is_rejected(number: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        DownloadLimits(slots=number)  # type: ignore[arg-type]
    limits = DownloadLimits()
    for name in ("slots", "per_host", "rate"):
        with pytest.raises(ValueError, match="whole number"):
            setattr(limits, name, number)


class Runner:
    """Holds slots in threads of its own until told to let go."""

    def __init__(self, limits: DownloadLimits) -> None:
        self.limits = limits
        self.order: list[str] = []
        self.go = {name: threading.Event() for name in "abcdef"}
        self.threads: list[threading.Thread] = []

    def start(self, name: str, host: str) -> None:
        """Ask for a slot in a new thread, and wait until it has it or waits."""
        asked = threading.Event()

        def run() -> None:
            with self.limits.slot(host, nothing, asked.set):
                self.order.append(name)
                asked.set()
                self.go[name].wait(10)

        thread = threading.Thread(target=run)
        self.threads.append(thread)
        thread.start()
        assert asked.wait(5)

    def end(self) -> None:
        """Let everything go."""
        for event in self.go.values():
            event.set()
        for thread in self.threads:
            thread.join(10)


@pytest.fixture
def runner() -> Callable[[DownloadLimits], Runner]:
    """Return a maker of runners."""
    return Runner


def test_slots_are_given_in_the_order_of_asking(runner: Callable[[DownloadLimits], Runner]) -> None:
    run = runner(DownloadLimits(slots=1))
    for name in "abc":
        run.start(name, "x")
    assert run.order == ["a"] and run.limits.running() == 1
    run.go["a"].set()
    wait_until(lambda: run.order == ["a", "b"])
    run.end()
    assert run.order == ["a", "b", "c"] and run.limits.running() == 0


def test_a_busy_host_does_not_hold_up_the_others(runner: Callable[[DownloadLimits], Runner]) -> None:
    run = runner(DownloadLimits(slots=3, per_host=1))
    run.start("a", "x")
    with pytest.raises(HostBusy) as caught, run.limits.slot("x", nothing, nothing):
        raise AssertionError("there was no slot")
    assert caught.value.running == 1
    run.start("c", "y")
    assert run.order == ["a", "c"]
    assert run.limits.running("x") == 1
    run.limits.per_host = 2
    run.start("b", "x")
    assert "b" in run.order
    run.end()


def test_more_slots_take_effect_at_once(runner: Callable[[DownloadLimits], Runner]) -> None:
    run = runner(DownloadLimits(slots=1))
    for name in "abc":
        run.start(name, "x")
    run.limits.slots = 3
    wait_until(lambda: sorted(run.order) == ["a", "b", "c"])
    run.end()


def test_one_who_is_interrupted_in_the_line_leaves_it() -> None:
    limits = DownloadLimits(slots=1)

    class Stop(BaseException):
        pass

    def tick() -> None:
        raise Stop

    with limits.slot("x", nothing, nothing):
        with pytest.raises(Stop):
            with limits.slot("x", tick, nothing):
                raise AssertionError("there was no slot")
        assert limits.running() == 1
    assert limits.running() == 0
    with limits.slot("x", nothing, lambda: pytest.fail("waited")):
        assert limits.running() == 1
