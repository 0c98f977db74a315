"""Listeners on jobs whose last event was lost get it anyway and are released; nothing accumulates."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import kue
from kue.client import events
from tests.support import wait_until
from tests.support.servers.faulty_server import FaultyServer


def test_a_lost_last_event_is_delivered_after_the_reconnect(server: FaultyServer) -> None:
    queue, other = kue.create_queue(server.url), kue.create_queue(server.url)
    told: list[tuple[Any, ...]] = []
    try:
        # Given listeners on jobs that end while the subscription's connection is lost
        jobs = [queue.create("t", {"n": n}) for n in range(4)]
        for job in jobs:
            for event in ("complete", "failed", "remove"):
                job.on(event, lambda *args, event=event, n=job.data["n"]: told.append((n, event, *args)))
            job.save()
        gate = threading.Event()
        # Deaf until the reconnection
        queue._store.listener._subscription._on_messages = lambda texts: gate.wait(30) and None

        def work(job: kue.Job) -> str:
            if job.data["n"] == 1:
                raise RuntimeError("broken")
            return "done"

        queue.remove(jobs[2].id or 0)
        other.process("t", 3, work)
        wait_until(lambda: other.counts()["complete"] == 2 and other.counts()["failed"] == 1, 20)

        # When it is back
        with server.client() as client:
            client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        gate.set()

        # Then each is told how its job ended, once, and let go of
        wait_until(lambda: len(told) == 4, 20)
        assert sorted(told) == [(0, "complete", "done", None), (1, "failed", "broken", None), (2, "remove"),
                                (3, "complete", "done", None)]  # fmt: skip
        wait_until(lambda: not queue._store.listener._by_job, 5)
    finally:
        other.shutdown(5)
        queue.shutdown(5)


def test_listeners_on_jobs_that_had_ended_do_not_pile_up(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "SWEEP_FROM", 50)
    queue = kue.create_queue(server.url)
    try:
        waiting = queue.create("t", {}, delay=60_000).save()
        waiting.on("complete", print)
        for _ in range(200):
            job = queue.create("t", {}).save()
            job.remove()
            job.on("complete", print)
        wait_until(lambda: len(queue._store.listener._by_job) <= 100, 10)
        assert waiting.id in queue._store.listener._by_job
    finally:
        queue.close()
