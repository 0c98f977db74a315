"""Schedules while processes are killed and the server's clock is set: each time creates one job."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta

import pytest
import redis

import kue
from kue.schedules.definition import Missed
from kue.schedules.firing import Firing
from tests.fault.test_clock import HOUR_S, Clocked, server
from tests.support import ROOT, wait_until
from tests.support.consistency import inconsistencies

__all__ = ["server"]

WORKER = """if True:
    import sys, time, kue
    queue = kue.create_queue(sys.argv[1], lease_ms=2000)
    queue.process("t", 4, lambda job: None)
    print("ready", flush=True)
    time.sleep(120)
"""
SCHEDULES, PROCESSES, SECONDS = 20, 3, 2.5


def start(url: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", WORKER, url], stdout=subprocess.PIPE, env=environ, text=True)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(10)
    if process.stdout is not None:
        process.stdout.close()


def times(client: redis.Redis) -> dict[str, Counter[int]]:
    """Return the times of each schedule for which there are jobs."""
    found: dict[str, Counter[int]] = {}
    for key in client.scan_iter("q:job:[0-9]*", count=1000):
        if key.count(":") == 2:
            name, at = client.hmget(key, "schedule", "occurrence")
            found.setdefault(name, Counter())[int(at)] += 1
    return found


@pytest.mark.slow
def test_each_time_gives_one_job_while_processes_are_killed(redis_url: str, redis_client: redis.Redis) -> None:
    # Given several processes, and schedules at each second
    chance = random.Random(7)
    processes = [start(redis_url) for _ in range(PROCESSES)]
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        with kue.create_queue(redis_url) as queue:
            for number in range(SCHEDULES):
                queue.schedule(f"s{number}", "t", every=1000, overlap="allow", missed="all")
            # When one after the other is killed, and another one started
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                time.sleep(chance.uniform(0.1, 0.4))
                at = chance.randrange(PROCESSES)
                end(processes[at])
                processes[at] = start(redis_url)
            begun = {each.name: each.anchor for each in queue.schedules()}
            last = queue.server_ms()
            wait_until(lambda: all((each.next_at or 0) > last for each in queue.schedules()), 20)
            for each in queue.schedules():
                queue.unschedule(each.name)
            wait_until(lambda: queue.card("inactive") + queue.card("active") == 0, 20)
    finally:
        for process in processes:
            end(process)
    # Then each second has one job, in each schedule
    for name, found in times(redis_client).items():
        assert set(found.values()) == {1}, (name, found)
        expected = set(range(begun[name] + 1000, last + 1, 1000))
        assert expected <= set(found), (name, expected - set(found))
    assert len(times(redis_client)) == SCHEDULES
    assert inconsistencies(redis_client) == []


@pytest.mark.parametrize("missed", ["once", "all"])
def test_a_clock_that_is_set_forward_and_back(
    server: Clocked, missed: Missed, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given schedules at each second and at some minutes, none of which come soon, and workers that fire them
    queues = [kue.create_queue(server.url) for _ in range(2)]
    client, polled = server.client(), set()
    look = Firing._was_set_back
    monkeypatch.setattr(Firing, "_was_set_back", lambda self, now_ms: (look(self, now_ms), polled.add(self))[0])
    soon_s = 60
    minutes = next(
        each for each in (10, 11, 13)
        if all((time.time() + day * 24 * HOUR_S) % (each * 60) < each * 60 - soon_s for day in (0, 1))
    )  # fmt: skip
    try:
        for each in queues:
            each.process("t", 4, lambda job: None)
        queue = queues[0]
        queue.schedule("often", "t", every=1000, overlap="allow", missed=missed)
        queue.schedule("seldom", "t", every=timedelta(minutes=minutes), overlap="allow", missed=missed)
        wait_until(lambda: queue.get_schedule("often").count >= 1 and len(polled) == 2, 10)
        first = queue.get_schedule("seldom").next_at
        # When the clock is set forward by a day
        server.set(24 * HOUR_S)
        wait_until(lambda: queue.get_schedule("seldom").count >= 1, 10)
        time.sleep(1)
        # Then there is one job for all of it
        assert queue.get_schedule("seldom").count == 1
        assert queue.get_schedule("often").count < 10
        # And when it is set back, all go on at once, and nothing comes again
        server.set(0)
        count = queue.get_schedule("often").count
        wait_until(lambda: queue.get_schedule("often").count >= count + 2, 10)
        assert queue.get_schedule("seldom").next_at == first
        assert queue.get_schedule("seldom").count == 1
        for found in times(client).values():
            assert set(found.values()) == {1}
    finally:
        for each in queues:
            each.shutdown(5)
        client.close()
