"""The pool of daemon threads."""

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


def test_a_function_that_raises_is_reported_and_the_thread_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, exc, tb: raised.append(exc))
    pool, threads = ThreadPool(), []

    def fails() -> None:
        threads.append(threading.get_ident())
        raise SystemExit("stop")

    pool.submit(fails)
    wait_until(lambda: pool._idle == 1, LIMIT_S)
    pool.submit(fails)
    wait_until(lambda: len(raised) == 2, LIMIT_S)
    assert [str(exc) for exc in raised] == ["stop", "stop"] and len(set(threads)) == 1


def test_without_a_thread_it_raises_and_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, ran = ThreadPool(), []

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="can't start"):
        pool.submit(ran.append, 0)
    monkeypatch.undo()
    pool.submit(ran.append, 1)
    wait_until(lambda: ran == [1], LIMIT_S)
