"""Short functions share a thread of the pool; one that is not short does not hold up the others."""

from __future__ import annotations

import sys
import threading
from typing import Any

import pytest

from kue.concurrency import green
from kue.concurrency.thread_pool import ThreadPool
from tests.support import wait_until

pytestmark = pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")

LIMIT_S = 15


def test_short_functions_share_a_thread_and_run_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadPool, "LOOK_S", LIMIT_S)  # else a machine that stands still counts as a long function
    pool, ran, threads = ThreadPool(), [], set()

    def short(n: int) -> None:
        threads.add(threading.get_ident())
        ran.append(n)

    for n in range(100):
        pool.submit_short(short, n)
        if n % 10 == 9:  # a pause: later ones find the thread waiting
            wait_until(lambda n=n: len(ran) == n + 1, LIMIT_S)
    assert ran == list(range(100)) and len(threads) == 1


def test_a_function_that_is_not_short_holds_up_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    pool, ran, go_on = ThreadPool(), [], threading.Event()

    def stuck(n: int) -> None:
        go_on.wait(LIMIT_S)
        ran.append(-n)

    for round_ in range(1, 4):  # the shared thread is replaced each time
        pool.submit_short(stuck, round_)
        for n in range(20):
            pool.submit_short(ran.append, n)
        wait_until(lambda round_=round_: len(ran) == 20 * round_, LIMIT_S)
    met = threading.Barrier(5)
    for _ in range(5):  # each waits for the others
        pool.submit_short(met.wait, LIMIT_S)
    pool.submit_short(ran.append, 99)
    wait_until(lambda: 99 in ran and not met.n_waiting and not met.broken, LIMIT_S)
    go_on.set()
    wait_until(lambda: {-1, -2, -3} <= set(ran), LIMIT_S)
    assert len(ran) == 64 and capsys.readouterr().err == ""


def test_the_watching_thread_sleeps_and_wakes_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadPool, "LOOKS", 2)
    pool, ran, go_on = ThreadPool(), [], threading.Event()
    try:
        for n in range(1, 4):
            pool.submit_short(go_on.wait, LIMIT_S)
            pool.submit_short(ran.append, n)
            wait_until(lambda n=n: len(ran) == n, LIMIT_S)
            wait_until(lambda: not pool._look.is_set(), LIMIT_S)
    finally:
        go_on.set()


def test_a_function_that_raises_is_reported_and_the_thread_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, exc, tb: raised.append(exc))
    pool, ran = ThreadPool(), []

    def fails() -> None:
        raise SystemExit("stop")

    pool.submit_short(fails)
    pool.submit_short(ran.append, 1)
    wait_until(lambda: ran == [1], LIMIT_S)
    assert [str(exc) for exc in raised] == ["stop"]


def test_without_a_thread_it_raises_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, ran, start = ThreadPool(), [], threading.Thread.start
    started: list[threading.Thread] = []

    def only_the_first(thread: threading.Thread) -> None:
        started.append(thread)
        if len(started) > 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", only_the_first)
    for _ in range(2):  # the thread that watches is there already
        with pytest.raises(RuntimeError, match="can't start"):
            pool.submit_short(ran.append, 0)
    monkeypatch.undo()
    pool.submit_short(ran.append, 1)
    wait_until(lambda: ran == [1], LIMIT_S)


def test_what_comes_after_short_functions_is_called_once_for_those_that_wait() -> None:
    pool, called, go_on, began = ThreadPool(), [], threading.Event(), threading.Event()
    ran: list[int] = []

    def after() -> None:
        called.append(list(ran))

    def short(n: int) -> None:
        began.set()
        if n == 0:
            go_on.wait(LIMIT_S)
        ran.append(n)
        pool.after_short(after)

    # Given a few that wait for the first, which the watching thread does not notice in time
    pool.LOOK_S = LIMIT_S  # type: ignore[misc]
    for n in range(5):
        pool.submit_short(short, n)
    assert began.wait(LIMIT_S) and not called
    go_on.set()
    # Then it is called before the last one, which may be long, and after it
    wait_until(lambda: len(called) == 2, LIMIT_S)
    assert called == [[0, 1, 2, 3], [0, 1, 2, 3, 4]]
    # Elsewhere it is called at once
    pool.after_short(after)
    assert len(called) == 3


def test_what_comes_after_short_functions_does_not_wait_for_a_long_one() -> None:
    pool, called, go_on, began = ThreadPool(), threading.Event(), threading.Event(), threading.Event()
    pool.submit_short(lambda: pool.after_short(called.set))
    assert called.wait(LIMIT_S)
    called.clear()

    def stuck() -> None:
        began.set()
        go_on.wait(LIMIT_S)

    def first() -> None:
        pool.after_short(called.set)
        for _ in range(3):
            pool.submit_short(stuck)

    pool.submit_short(first)
    assert began.wait(LIMIT_S) and called.wait(LIMIT_S)
    go_on.set()
