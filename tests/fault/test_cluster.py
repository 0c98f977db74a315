"""A real Cluster of three shards and a replica: whole lives of jobs on it, and a node that is killed."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot

import kue
from kue.embedded.server import find_binary
from kue.storage.script_values import Reservation
from kue.storage.scripts import Scripts
from tests.conftest import start_server, stop_server
from tests.support import free_port, wait_until
from tests.support.job_life import live, produce

SLOTS = 16384
SHARDS = 3
#: A node that is silent for so long is taken for dead; its replica takes over within two or three times that.
NODE_TIMEOUT_MS = 700
FAILOVER_S = 30.0


class Nodes:
    """Three primaries, each with a third of the slots, and a replica of the first; all of the embedded Valkey."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []
        self.ports: list[int] = []
        self.clients: list[Any] = []

    def start(self, directory: Path) -> None:
        first_bus = 0
        for number in range(SHARDS + 1):
            folder, bus = directory / str(number), free_port()
            folder.mkdir()
            process, url = start_server(
                str(find_binary()), folder, "--cluster-enabled", "yes", "--cluster-port", str(bus),
                "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0",
                "--repl-diskless-sync-delay", "0",
            )  # fmt: skip
            self.processes.append(process)
            self.ports.append(int(url.rpartition(":")[2].removesuffix("/0")))
            client: Any = redis.Redis.from_url(url, decode_responses=True)
            self.clients.append(client)
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < SHARDS:
                edges = [SLOTS * each // SHARDS for each in (number, number + 1)]
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", edges[0], edges[1] - 1)
            if number:
                client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.ports[0], first_bus)
            first_bus = first_bus or bus
        wait_until(self._met, 20, message="the nodes know each other")
        self.clients[SHARDS].execute_command("CLUSTER", "REPLICATE", self.clients[0].execute_command("CLUSTER", "MYID"))
        wait_until(lambda: self.clients[SHARDS].info("replication").get("master_link_status") == "up", 20)
        wait_until(lambda: all(each.cluster("info")["cluster_state"] == "ok" for each in self.clients), 20)

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.ports[1]},127.0.0.1:{self.ports[0]}"

    @staticmethod
    def prefix_on(shard: int, word: str) -> str:
        """A prefix that begins with the word, whose keys lie on that shard."""
        tags = (f"{word}{number}" for number in range(10_000))
        return next(f"{{{tag}}}" for tag in tags if key_slot(tag.encode()) * SHARDS // SLOTS == shard)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process in self.processes:
            stop_server(process)

    def _met(self) -> bool:
        known = [each.execute_command("CLUSTER", "NODES") for each in self.clients]
        return all(text.count(" connected") == SHARDS + 1 and "handshake" not in text for text in known)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Nodes]:
    started = Nodes()
    try:
        started.start(directory)
        yield started
    finally:
        started.close()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A cluster for all tests, each of which has prefixes of its own."""
    with running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def own_nodes(tmp_path: Path) -> Iterator[Nodes]:
    """A cluster of which nodes may be killed."""
    with running(tmp_path) as started:
        yield started


@pytest.mark.serial
def test_no_job_of_several_types_waits_for_long(nodes: Nodes) -> None:
    queue = kue.create_queue(nodes.url, nodes.prefix_on(1, "waits"))
    begun: list[float] = []
    began = threading.Event()

    def handle(job: kue.Job) -> None:
        begun.append(time.monotonic())
        began.set()

    try:
        for name in "ab":
            queue.process(name, 1, handle)
        waits_s = []
        for at in range(120):
            began.clear()
            queue.create("ab"[at * 7 % 11 % 2]).save()
            saved_at = time.monotonic()
            assert began.wait(10)
            waits_s.append(begun[-1] - saved_at)
        assert max(waits_s[5:]) < 0.6, sorted(waits_s)[-5:]
    finally:
        queue.shutdown(2)


def test_queues_on_three_shards_live_beside_each_other(nodes: Nodes) -> None:
    # Given a queue on each shard, each made in another way
    def client() -> RedisCluster:
        return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", nodes.ports[2])])  # type: ignore[no-untyped-call]

    pattern = client()
    queues = [
        kue.create_queue(source, nodes.prefix_on(shard, "live"), search=True)
        for shard, source in enumerate((nodes.url, pattern, client))
    ]
    # When all live at once
    failures: list[BaseException] = []

    def run(queue: kue.Queue) -> None:
        try:
            live(queue)
        except BaseException as exc:
            failures.append(exc)
        finally:
            queue.shutdown(2)

    threads = [threading.Thread(target=run, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    # Then each did all that a queue does, on its own shard
    assert failures == []
    for shard, queue in enumerate(queues):
        assert any(key.startswith(queue.prefix) for key in nodes.clients[shard].keys("*"))
        assert not any(key.startswith(queue.prefix) for key in nodes.clients[(shard + 1) % SHARDS].keys("*"))
    assert pattern.ping()
    pattern.close()  # type: ignore[no-untyped-call]


def test_the_prefix_is_put_in_braces_as_nodes_is(nodes: Nodes) -> None:
    assert kue.create_queue(nodes.url).prefix == "{q}"
    assert kue.create_queue(nodes.url, "jobs:{a}").prefix == "jobs:{a}"


def test_a_killed_node_is_replaced_and_nothing_is_lost(own_nodes: Nodes) -> None:
    # Given workers, a listener and waiting jobs on the first shard
    queue = kue.create_queue(own_nodes.url, own_nodes.prefix_on(0, "over"), lease_ms=3000)
    heard: list[kue.Event] = []
    ran: list[Any] = []
    queue.subscribe(heard.append)
    hold, begun = threading.Event(), threading.Event()

    def work(job: kue.Job) -> Any:
        ran.append(job.data["n"])
        begun.set()
        hold.wait(30)
        return job.data["n"]

    # (and one job that a worker took with it when it died, which is rescued as soon as leases are looked at)
    ghost = queue.create("over", {"n": 0}).save()
    dead = Scripts(queue.keys)
    with own_nodes.clients[0] as client:
        assert dead.reserve(client, Reservation({"over": [1]}, 1, "dead", "kue:elsewhere:1")).jobs
    made = queue.create_many([{"type": "over", "data": {"n": n}} for n in range(1, 60)])
    queue.process("over", 4, work)
    wait_until(begun.is_set, 10)
    assert own_nodes.clients[0].wait(1, 5000) == 1  # the replica has it all

    # When the node is killed while jobs run, and producers go on
    own_nodes.processes[0].kill()
    own_nodes.processes[0].wait()
    later: list[kue.Job] = []
    producer = threading.Thread(target=produce, args=(queue, "over", range(100, 120), later))
    producer.start()
    hold.set()

    # Then the replica takes over, and every job is done and heard of
    producer.join(FAILOVER_S)
    assert len(later) == 20
    assert own_nodes.clients[SHARDS].info("replication")["role"] == "master"
    wait_until(lambda: queue.complete_count() == 80, FAILOVER_S, 0.05)
    assert sum(queue.counts().values()) == 80
    assert set(ran) == {*range(60), *range(100, 120)}
    wait_until(lambda: any(each.event == "resync" for each in heard), 20)
    last = queue.create("over", {"n": 999}).save()
    wait_until(lambda: any(each.id == last.id and each.event == "complete" for each in heard), 20)
    assert last.wait(20) == 999
    assert [queue.get(job.id or 0).result for job in made] == list(range(1, 60))
    assert queue.get(ghost.id or 0).rescues == 1
    queue.shutdown(2)
