"""A real Sentinel failover: three sentinels, a primary that is killed, and the replica that takes its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

import kue
from tests.support import wait_until
from tests.support.job_life import live, produce
from tests.support.servers.sentinels import PASSWORD, Guarded

#: Generous: a sentinel that gets no processor for two seconds does nothing for half a minute.
FAILOVER_S = 60.0


@pytest.fixture  # one for each test, since one of them kills the primary
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded.running(tmp_path_factory.mktemp("sentinel")) as started:
        yield started


def test_a_queue_lives_behind_sentinels(guarded: Guarded) -> None:
    queue = kue.create_queue(guarded.url, "life", search=True)
    live(queue)
    queue.shutdown(2)
    with redis.Redis(
        port=guarded.primary.connection_pool.connection_kwargs["port"], password=PASSWORD, db=2
    ) as client:
        assert client.exists("life:ids")


def test_a_service_that_no_sentinel_knows_is_told(guarded: Guarded) -> None:
    queue = kue.create_queue(guarded.url.replace("/main/", "/other/"))
    with pytest.raises(kue.QueueUnavailable, match="other"):
        queue.types()
    queue.close()


def test_after_a_failover_everything_continues_by_itself(guarded: Guarded) -> None:
    # Given a producer, workers and a listener, each a queue of its own, and jobs that the replica knows
    queues = [kue.create_queue(guarded.url, lease_ms=3000) for _ in range(3)]
    producer, worker, listener = queues
    heard: list[kue.Event] = []
    ran: list[Any] = []
    trouble: list[BaseException] = []
    listener.subscribe(heard.append)
    worker.on("error", trouble.append)
    hold, begun = threading.Event(), threading.Event()

    def work(job: kue.Job) -> Any:
        ran.append(job.data["n"])
        begun.set()
        hold.wait(60)
        return {"n": job.data["n"]}

    made = producer.create_many([{"type": "over", "data": {"n": n}} for n in range(40)])
    worker.process("over", 4, work)
    wait_until(begun.is_set, 10)
    assert guarded.primary.wait(1, 5000) == 1

    # When the primary is killed while jobs run, and the producer goes on
    guarded.processes[0].kill()
    guarded.processes[0].wait()
    later: list[kue.Job] = []
    thread = threading.Thread(target=produce, args=(producer, "over", range(100, 120), later))
    thread.start()
    hold.set()

    # Then the replica takes its place, and all of them go on: no job is lost, and each is heard of
    thread.join(FAILOVER_S)
    assert len(later) == 20
    guarded.replica.connection_pool.disconnect()  # the sentinels broke its clients' connections
    assert guarded.replica.info("replication")["role"] == "master"
    wait_until(lambda: producer.complete_count() == 60, FAILOVER_S, 0.05)
    assert set(ran) == {*range(40), *range(100, 120)}
    assert [producer.get(job.id or 0).result for job in made] == [{"n": n} for n in range(40)]
    wait_until(lambda: any(each.event == "resync" for each in heard), 20)
    last = producer.create("over", {"n": 999}).save()
    wait_until(lambda: any(each.id == last.id and each.event == "complete" for each in heard), 20)
    assert last.wait(20) == {"n": 999}
    assert trouble and isinstance(trouble[0], (redis.RedisError, OSError))
    for queue in queues:
        queue.shutdown(2)
