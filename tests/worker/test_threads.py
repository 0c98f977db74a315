"""Attempts in threads: short ones share one, and where no thread can be started, the others wait."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest

from kue.concurrency import green
from kue.concurrency.short_calls import Watch
from kue.worker.executors.threads import ThreadExecutor
from tests.support import wait_until

LIMIT_S = 15


@pytest.mark.skipif(green.enabled(), reason="green threads have no pool of OS threads")
def test_a_type_whose_attempts_were_short_may_have_long_ones(queue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run at the same time, as many as there are slots, and do not hold up the short ones."""
    threads: Counter[int] = Counter()
    together = threading.Barrier(5)

    @queue.process("work", concurrency=10)
    def work(job: Any) -> str:
        threads[threading.get_ident()] += 1
        if job.data == "long":
            together.wait(LIMIT_S)
        return str(job.data)

    monkeypatch.setattr(Watch, "LOOK_S", 0.3)  # longer than this machine may stand still

    def run(kinds: list[str]) -> None:
        jobs = queue.create_many([{"type": "work", "data": kind} for kind in kinds])
        assert [job.wait(LIMIT_S) for job in jobs] == kinds

    def few_threads() -> bool:
        threads.clear()
        run(["short"] * 100)
        return len(threads) <= 3  # two fetch loops and the blocking fetcher

    wait_until(few_threads, LIMIT_S)  # once they are known to be short
    run([*["long", "short"] * 5, *["short"] * 100])
    run(["long"] * 5)


@pytest.mark.slow
def test_where_no_thread_can_be_started_the_jobs_wait_a_moment(
    queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[float] = []
    start = ThreadExecutor.start

    def refuse(self: Any, execution: Any) -> None:
        refused.append(time.monotonic())
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadExecutor, "start", refuse)
    queue.process("work", 20, lambda job: job.data)
    jobs = queue.create_many([{"type": "work", "data": n} for n in range(40)])
    wait_until(lambda: refused and refused[-1] - refused[0] > 0.9, LIMIT_S)
    monkeypatch.setattr(ThreadExecutor, "start", start)
    assert [job.wait(LIMIT_S) for job in jobs] == list(range(40))
    assert len(refused) <= 80  # each slot once a second, not thousands of times
    assert {job.refresh().attempts_made for job in jobs} == {1}
    assert "cannot start a thread (can't start new thread); released" in caplog.text
