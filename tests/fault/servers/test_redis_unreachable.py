"""Redis goes away in every way: workers and listeners go on by themselves, and each finished job is told of once.

Most faults last longer than the lease, so that nobody could renew one in time: no job may be taken from its worker for
that.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

import kue
from kue.connection.connector import Connector
from tests.support import free_port, wait_until
from tests.support.servers.faulty_server import FaultyServer
from tests.support.servers.proxy import Proxy

LEASE_MS = 1500
LONGER_THAN_LEASE_S = 2.5
#: What a client waits here for an answer, in place of 5 or 6 s, and longer than that.
ANSWER_S = 1.5
LONGER_THAN_ANSWER_S = 3.0
HELD = 3


@pytest.fixture(autouse=True)
def _short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    dedicated = Connector.dedicated

    def impatient(self: Connector, answer_s: float | None = ANSWER_S) -> Any:
        return dedicated(self, min(answer_s or ANSWER_S, ANSWER_S))

    monkeypatch.setattr(Connector, "dedicated", impatient)


Say = Callable[[], None]


def restart(server: FaultyServer, proxy: Proxy, meanwhile: Say) -> None:
    server.kill()
    meanwhile()
    time.sleep(LONGER_THAN_LEASE_S)
    server.start()


def kill_clients(server: FaultyServer, proxy: Proxy, meanwhile: Say) -> None:
    with server.client() as client:
        for kind in ("normal", "pubsub"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind)
    meanwhile()


def freeze(server: FaultyServer, proxy: Proxy, meanwhile: Say) -> None:
    server.freeze()
    meanwhile()
    time.sleep(LONGER_THAN_ANSWER_S)
    server.thaw()


def cut_network(server: FaultyServer, proxy: Proxy, meanwhile: Say) -> None:
    proxy.block()
    meanwhile()
    time.sleep(LONGER_THAN_ANSWER_S)
    proxy.unblock()


def fill(server: FaultyServer, proxy: Proxy, meanwhile: Say) -> None:
    with server.client() as client:
        client.config_set("maxmemory", 1)
        meanwhile()
        time.sleep(LONGER_THAN_LEASE_S)
        client.config_set("maxmemory", 0)


def make_read_only(server: FaultyServer, proxy: Proxy, meanwhile: Say) -> None:
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", str(free_port()))
        meanwhile()
        time.sleep(LONGER_THAN_LEASE_S)
        client.execute_command("REPLICAOF", "NO", "ONE")


def flush_scripts(server: FaultyServer, proxy: Proxy, meanwhile: Say) -> None:
    with server.client() as client:
        client.script_flush()
    meanwhile()


def load(server: FaultyServer, proxy: Proxy, meanwhile: Say) -> None:
    """Kill it, and let it take seconds to read its file, in which it refuses nearly everything."""
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(8192):  # it listens after each 1,024 commands
            pipe.set(f"other:{number}", "x")
        pipe.execute()
    server.kill()
    server.start("--key-load-delay", "300", wait=False)
    wait_until(lambda: server.says("-LOADING"), timeout=10)
    meanwhile()
    wait_until(lambda: server.says("+PONG"), timeout=20)


#: The fault, and how many lines the log may have on each of its beginning and its end. In a full server work goes on.
FAULTS = [(restart, {1}), (freeze, {1}), (cut_network, {1}), (flush_scripts, {0}), (fill, {0, 1})]
OTHER_FAULTS = [(kill_clients, {1}), (make_read_only, {1}), (load, {1})]


@pytest.mark.parametrize(
    ("fault", "lines"),
    [
        *(pytest.param(*each, id=each[0].__name__) for each in FAULTS),
        *(pytest.param(*each, id=each[0].__name__, marks=pytest.mark.long) for each in OTHER_FAULTS),
    ],
)
def test_work_continues_by_itself_and_no_outcome_is_lost(
    server: FaultyServer, proxy: Proxy, caplog: pytest.LogCaptureFixture, fault: Any, lines: set[int]
) -> None:
    # Given a worker with jobs in hand, jobs that wait, and listeners
    caplog.set_level(logging.WARNING, "kue")
    queue = kue.create_queue(proxy.url, lease_ms=LEASE_MS)
    ran: Counter[int] = Counter()
    heard: Counter[str] = Counter()
    errors: list[BaseException] = []
    begun, finish = threading.Semaphore(0), threading.Event()

    def work(job: kue.Job) -> str:
        ran[int(job.id or 0)] += 1
        begun.release()
        if job.data["held"]:
            finish.wait(30)
        if job.data["fail"] and job.attempts_made == 0:
            raise RuntimeError("once")
        return "done"

    try:
        for event in ("start", "complete", "failed attempt", "rescue"):
            queue.on(f"job {event}", lambda job_id, *args, event=event: heard.update([event]))
        queue.on("error", errors.append)
        queue.process("work", HELD, work)
        jobs = [queue.create("work", {"held": True, "fail": n == 0}, attempts=2).save() for n in range(HELD)]
        for _ in range(HELD):
            assert begun.acquire(timeout=10)
        jobs += queue.create_many([{"type": "work", "data": {"held": False, "fail": False}}] * 20)

        # When the fault comes, and the handlers end during it
        fault(server, proxy, finish.set)

        # Then all is done, once
        for job in jobs:
            assert job.wait(20) == "done"
        queue.shutdown(5)
        assert {job_id: count for job_id, count in ran.items() if count > 1} == {jobs[0].id: 2}  # it failed once
        assert [job.refresh().rescues for job in jobs] == [0] * len(jobs)
        if fault in (fill, flush_scripts):
            assert heard["complete"] == len(jobs) and heard["failed attempt"] == 1
        # And the log is short
        said = [record.getMessage() for record in caplog.records if record.name != "kue.jobs"]
        away = [line for line in said if line.startswith(("Redis is unreachable", "Redis refuses commands"))]
        back = [line for line in said if line.startswith("Redis recovered")]
        assert len(away) == len(back) == len(errors) and len(away) in lines and len(said) == len(away + back), said
    finally:
        finish.set()
        queue.shutdown(0)


def test_a_handler_that_reports_waits_for_redis_and_has_not_failed(
    server: FaultyServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kue.client.job_store.HANDLER_PATIENCE_S", 0.2)  # several times over during the outage
    queue = kue.create_queue(proxy.url, lease_ms=LEASE_MS)
    begun, report = threading.Event(), threading.Event()

    def work(job: kue.Job) -> str:
        begun.set()
        report.wait(30)
        job.log("still here")
        job.progress(1, 2)
        return "done"

    try:
        queue.process("work", 1, work)
        job = queue.create("work", {}, attempts=3).save()
        assert begun.wait(10)
        restart(server, proxy, report.set)
        assert job.wait(20) == "done"
        assert (job.refresh().attempts_made, job.rescues, queue.log(job.id or 0)) == (1, 0, ["still here"])
    finally:
        queue.shutdown(5)


def test_a_call_that_comes_through_after_its_repetition_takes_no_job(server: FaultyServer, proxy: Proxy) -> None:
    # Given a worker whose call for jobs is stuck in its connection
    queue, producer = kue.create_queue(proxy.url), kue.create_queue(server.url)
    ran: list[int] = []
    try:
        queue.process("work", 2, lambda job: ran.append(int(job.id or 0)))
        producer.create("work", {}).save().wait(20)
        engine = queue._worker.engine
        assert engine is not None
        wait_until(lambda: len(engine._fetch_loops.blocking_fetcher.blocking) == 1, 10)
        proxy.stall()
        jobs = producer.create_many([{"type": "work", "data": {}}] * 2)
        # When it has given up, made the call again by another connection, and done those jobs
        for job in jobs:
            job.wait(30)
        queue.quiet()
        assert engine.drain(10)  # nor is a call under way that could take one
        jobs = producer.create_many([{"type": "work", "data": {}}] * 2)
        # And the first call comes through
        proxy.unblock()
        time.sleep(0.5)
        # Then it has taken nothing that nobody would run
        assert [job.refresh().state for job in jobs] == ["inactive"] * 2
    finally:
        queue.shutdown(5)
        producer.close()
