"""A process forked after it has used a queue: child and parent both work, over separate connections."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def in_child(fn: Callable[[], object]) -> Any:
    """Return what ``fn`` returns in a forked child, or its error."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def run() -> None:
        try:
            theirs.send(fn())
        except BaseException as exc:
            theirs.send(f"{type(exc).__name__}: {exc}")

    child = context.Process(target=run)
    child.start()
    try:
        assert ours.poll(15), "the child hangs"
        return ours.recv()
    finally:
        child.kill()
        child.join(5)


@pytest.fixture
def used(queue: Any) -> Any:
    """A queue that has used all it has: producer, shared client, listener, workers."""
    queue.on("job complete", lambda *args: None)
    queue.process("parents", 2, lambda job: "done")
    assert queue.create("parents").save().wait(5) == "done"
    return queue


def test_a_child_saves_and_waits_by_events(used: Any) -> None:
    def child() -> tuple[Any, float]:
        began_at = time.monotonic()
        results = {used.create("parents").save().wait(10) for _ in range(10)}
        return results, time.monotonic() - began_at

    results, took_s = in_child(child)
    assert results == {"done"}
    assert took_s < 8  # by its events, not by ten looks
    assert used.create("parents").save().wait(5) == "done"


def test_a_child_listens(used: Any) -> None:
    def child() -> bool:
        heard = threading.Event()
        used.on("job complete", lambda *args: heard.set())
        used.create("parents").save()
        return heard.wait(5)

    assert in_child(child) is True


def test_a_child_does_not_work_until_it_is_told_to(used: Any) -> None:
    def child() -> tuple[Any, Any, Any]:
        before = used.processing()
        used.process("childs", 1, lambda job: os.getpid())
        result = used.create("childs").save().wait(10)
        after = used.processing()
        used.shutdown(2)
        return before, after, result == os.getpid()

    assert in_child(child) == ({}, {"childs": 1}, True)
    assert used.processing() == {"parents": 2}


def test_locks_that_other_threads_hold_at_the_fork_do_not_stop_the_child(used: Any) -> None:
    from kue.concurrency import green

    listener, producer = used._store.listener, used._store.producer
    locks = [used._worker._lock, listener._lock, listener._handlers._lock, producer._lock,
             used.session.connector.outage._lock, used.test_mode._lock, green._pool._lock]  # fmt: skip
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            lock.acquire()
        held.set()
        let_go.wait(20)
        for lock in reversed(locks):
            lock.release()

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(5)

    def child() -> Any:
        used.process("childs", 1, lambda job: "done")
        job = used.create("childs").on("complete", lambda *args: None).save()
        return job.wait(10)

    try:
        assert in_child(child) == "done"
    finally:
        let_go.set()
        holder.join(5)


def test_parent_and_child_never_share_a_socket(used: Any) -> None:
    def ids() -> list[int]:
        return [used._store.producer._lane._connection.client.client_id(), used.session.connector.shared().client_id()]

    assert not set(ids()) & set(in_child(ids))
