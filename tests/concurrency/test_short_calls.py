"""Short functions run in the thread that spawns them; one that is not short holds up nothing else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kue.concurrency import green
from kue.concurrency.short_calls import ShortCalls, Watch
from kue.concurrency.thread_pool import ThreadPool
from tests.support import wait_until

pytestmark = pytest.mark.skipif(green.enabled(), reason="eventlet has patched this process")

LIMIT_S = 15


@pytest.fixture
def watch() -> Watch:
    return Watch(ThreadPool().submit)


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    """What functions that are not short wait for."""
    event = threading.Event()
    yield event
    event.set()


class Loop:
    """A thread that runs one batch of short functions after the other, as a fetch loop does."""

    def __init__(self, watch: Watch, batches: list[list[tuple[Any, ...]]]) -> None:
        self.watch, self.batches = watch, batches
        self.threads: list[int] = []
        self.start()

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self.threads.append(threading.get_ident())
        while self.batches:
            with ShortCalls(self.watch, self.start) as calls:
                for fn, *args in self.batches.pop(0):
                    assert self.watch.spawn(fn, *args)
            if not calls.run():
                return


def test_they_run_in_order_in_the_thread_that_spawned_them(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "LOOK_S", LIMIT_S)  # else a machine that stands still counts as a long function
    ran: list[tuple[int, int]] = []

    def short(n: int) -> None:
        ran.append((n, threading.get_ident()))

    loop = Loop(watch, [[(short, n) for n in range(at, at + 10)] for at in range(0, 100, 10)])
    wait_until(lambda: len(ran) == 100, LIMIT_S)
    assert ran == [(n, loop.threads[0]) for n in range(100)]
    assert not watch.spawn(short, 0), "outside of such a block, a function needs a thread of its own"


def test_a_function_that_is_not_short_holds_up_no_other(watch: Watch, go_on: threading.Event) -> None:
    ran: list[int] = []
    met = threading.Barrier(5)
    loop = Loop(watch, [
        [(ran.append, 1), (go_on.wait, LIMIT_S), (ran.append, 2), (go_on.wait, LIMIT_S), (ran.append, 3)],
        [(ran.append, 4), (go_on.wait, LIMIT_S), (ran.append, 5)],
        [*[(met.wait, LIMIT_S)] * 5, (ran.append, 6)],
        [(ran.append, 7)],
    ])  # fmt: skip
    wait_until(lambda: sorted(ran) == [1, 2, 3, 4, 5, 6, 7], LIMIT_S)
    wait_until(lambda: not met.n_waiting and not met.broken, LIMIT_S)
    assert len(set(loop.threads)) >= 4, "another thread continued each time"


def test_the_watching_thread_sleeps_and_wakes_up_again(
    watch: Watch, go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "LOOKS", 2)
    ran: list[int] = []
    for n in range(1, 4):
        Loop(watch, [[(go_on.wait, LIMIT_S), (ran.append, n)], [(ran.append, -n)]])
        wait_until(lambda n=n: {n, -n} <= set(ran), LIMIT_S)
        wait_until(lambda: not watch._look.is_set(), LIMIT_S)


def test_a_function_that_raises_is_reported_and_the_others_run(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, exc, tb: raised.append(exc))
    ran: list[int] = []
    Loop(watch, [[(sys.exit, "stop"), (ran.append, 1)], [(ran.append, 2)]])
    wait_until(lambda: ran == [1, 2], LIMIT_S)
    assert [str(exc) for exc in raised] == ["stop"]


def test_what_was_spawned_before_an_error_runs_elsewhere(watch: Watch) -> None:
    ran: list[int] = []
    with pytest.raises(ValueError, match="reply"), ShortCalls(watch, lambda: None):
        watch.spawn(ran.append, 1)
        raise ValueError("a bad reply")
    wait_until(lambda: ran == [1], LIMIT_S)


def test_where_no_thread_can_be_started_another_continues_later(
    go_on: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[object] = []
    pool = ThreadPool()

    def start(fn: Any, *args: Any) -> None:
        if len(refused) < 3:
            refused.append(fn)
            raise RuntimeError("can't start new thread")
        pool.submit(fn, *args)

    ran: list[int] = []
    loop = Loop(Watch(start), [[(go_on.wait, LIMIT_S), (ran.append, 1)], [(ran.append, 2)]])
    wait_until(lambda: sorted(ran) == [1, 2], LIMIT_S)
    assert refused == [loop.start] * 3


def test_what_comes_after_them_is_called_once(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watch, "LOOK_S", LIMIT_S)
    called: list[list[int]] = []
    ran: list[int] = []

    def after() -> None:
        called.append(list(ran))

    def short(n: int) -> None:
        ran.append(n)
        watch.after(after)

    Loop(watch, [[(short, n) for n in range(3)], [(short, 3)]])
    wait_until(lambda: len(called) == 2, LIMIT_S)
    assert called == [[0, 1, 2], [0, 1, 2, 3]]
    watch.after(after)
    assert len(called) == 3, "elsewhere it is called at once"


def test_what_comes_after_them_does_not_wait_for_a_long_one(watch: Watch, go_on: threading.Event) -> None:
    called, ended = threading.Event(), threading.Event()

    def long() -> None:
        go_on.wait(LIMIT_S)
        watch.after(ended.set)

    Loop(watch, [[(watch.after, called.set), (long,)]])
    assert called.wait(LIMIT_S)
    go_on.set()
    assert ended.wait(LIMIT_S)
