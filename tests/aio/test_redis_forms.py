"""All forms of the ``redis`` argument of an asyncio queue, including sync and asyncio clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

import kue
import kue.aio
from tests.connection.test_redis_forms import certificates, short_dir
from tests.support import free_port, wait_until
from tests.support.async_job_life import live
from tests.support.loops import on_loop
from tests.support.servers.cluster import SHARDS, Nodes
from tests.support.servers.sentinels import PASSWORD, SENTINEL_PASSWORD, Guarded

Start = Callable[..., str]
__all__ = ["certificates", "short_dir"]


async def works(source: Any, prefix: str = "q") -> None:
    """Save, work, and hear of it."""
    async with kue.aio.create_queue(source, prefix) as queue:
        queue.process("t", lambda job: job.data["n"])
        async with queue.events() as events:
            job = await queue.create("t", {"n": 5}).save()
            assert await job.wait(20) == 5
            assert (await anext(events)).id == job.id
        assert queue.sync.types() == await queue.types() == ["t"]


def test_clients_of_both_kinds_are_patterns_that_stay_the_users(redis_url: str) -> None:
    options: dict[str, Any] = {"socket_timeout": 0.05, "max_connections": 1, "health_check_interval": 3, "db": 2}

    @on_loop
    async def test() -> None:
        with redis.Redis.from_url(redis_url, **options) as client:
            await works(client)
            assert client.get("q:ids") == b"1"
        async with redis.asyncio.Redis.from_url(redis_url, **options) as client:
            await works(client)
            await works(lambda: redis.asyncio.Redis.from_url(redis_url, **options))
            assert await client.get("q:ids") == b"3"
            assert client.connection_pool.connection_kwargs["socket_timeout"] == 0.05
        pool = redis.asyncio.BlockingConnectionPool.from_url(redis_url, db=2)
        await works(lambda: redis.asyncio.Redis(connection_pool=pool))
        await works(lambda: redis.Redis.from_url(redis_url))

    test()


def test_what_is_no_redis_is_refused() -> None:
    for wrong in (5, object(), lambda: 5):
        with pytest.raises(kue.InvalidAddress, match="a URL, a redis.Redis"):
            kue.aio.create_queue(wrong)
    with pytest.raises(kue.InvalidAddress, match="write redis://"):
        kue.aio.create_queue("127.0.0.1")


@on_loop
async def test_unix_sockets_with_a_password(short_dir: Path, second_redis_server: Start) -> None:
    socket = short_dir / "my redis.sock"
    second_redis_server("--unixsocket", str(socket), "--requirepass", "pw")
    wait_until(socket.exists)
    await works(f"unix://:pw@{socket.as_posix().replace(' ', '%20')}?db=2")
    await works(redis.Redis(unix_socket_path=str(socket), password="pw", db=2))
    await works(redis.asyncio.Redis(unix_socket_path=str(socket), password="pw", db=2))


@pytest.mark.long
@on_loop
async def test_tls(certificates: Path, second_redis_server: Start) -> None:
    port, folder = free_port(), certificates
    second_redis_server(
        "--tls-port", str(port), "--tls-cert-file", str(folder / "cert.pem"), "--tls-key-file", str(folder / "key.pem"),
        "--tls-ca-cert-file", str(folder / "ca.pem"),
    )  # fmt: skip
    files = {"ssl_certfile": f"{folder}/cert.pem", "ssl_keyfile": f"{folder}/key.pem"}
    ours = "&".join(f"{name}={path}" for name, path in files.items())
    await works(f"rediss://127.0.0.1:{port}/1?ssl_ca_certs={folder}/ca.pem&{ours}")
    tls: dict[str, Any] = {"host": "127.0.0.1", "port": port, "ssl": True, "ssl_ca_certs": f"{folder}/ca.pem", **files}
    await works(redis.Redis(**tls))
    await works(redis.asyncio.Redis(**tls))
    async with kue.aio.create_queue(f"rediss://127.0.0.1:{port}/1?{ours}") as queue:
        with pytest.raises(kue.QueueUnavailable, match="[Cc]ertif"):
            await queue.types()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    with Nodes.running(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.mark.long
def test_a_cluster_in_all_forms(nodes: Nodes) -> None:
    port = nodes.ports[2]

    def client() -> RedisCluster:
        return RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port)])  # type: ignore[no-untyped-call]

    def async_client() -> AsyncRedisCluster:
        return AsyncRedisCluster(startup_nodes=[AsyncClusterNode("127.0.0.1", port)])

    @on_loop
    async def test() -> None:
        # Given a queue on each shard, each made in another way, and all live at once
        pattern = client()
        queues = [
            kue.aio.create_queue(source, nodes.prefix_on(shard, "alive"), search=True)
            for shard, source in enumerate((nodes.url, pattern, async_client))
        ]

        async def run(queue: kue.aio.Queue) -> None:
            async with queue:
                await live(queue)

        await asyncio.gather(*(run(queue) for queue in queues))
        for shard, queue in enumerate(queues):
            assert any(key.startswith(queue.prefix) for key in nodes.clients[shard].keys("*"))
            assert not any(key.startswith(queue.prefix) for key in nodes.clients[(shard + 1) % SHARDS].keys("*"))
        own = async_client()
        await works(own, "braces")
        await works(client, "braces")
        assert await own.ping()
        await own.aclose()
        pattern.close()  # type: ignore[no-untyped-call]
        queue = kue.aio.create_queue(nodes.url)
        assert queue.prefix == queue.sync.prefix == "{q}"

    test()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded.running(tmp_path_factory.mktemp("sentinel")) as started:
        yield started


@pytest.mark.slow
def test_sentinels_in_all_forms_and_a_failover(guarded: Guarded) -> None:
    @on_loop
    async def test() -> None:
        async with kue.aio.create_queue(guarded.url, "life", search=True) as queue:
            await live(queue)
        hosts = [("127.0.0.1", each.connection_pool.connection_kwargs["port"]) for each in guarded.sentinels]
        options: dict[str, Any] = {"sentinel_kwargs": {"password": SENTINEL_PASSWORD}, "password": PASSWORD}
        for sentinel in (Sentinel, AsyncSentinel):
            manager: Any = sentinel
            await works(manager(hosts, **options).master_for("main"), "forms")
        async with kue.aio.create_queue(guarded.url.replace("/main/", "/other/")) as queue:
            with pytest.raises(kue.QueueUnavailable, match="other"):
                await queue.types()
        # When the primary is killed while a producer and a listener go on
        async with kue.aio.create_queue(guarded.url, "over") as queue, queue.events() as events:
            await queue.create("t").save()
            assert guarded.primary.wait(1, 5000) == 1
            guarded.processes[0].kill()
            guarded.processes[0].wait()
            jobs = [queue.create("t", {"n": n}) for n in range(20)]
            for job in jobs:
                while job.id is None:
                    try:
                        await job.save()
                    except kue.QueueUnavailable:
                        continue
            # Then nothing is lost or there twice, and the listener knows that it may have missed something
            assert await queue.inactive_count() == 21
            assert "resync" in [(await anext(events)).event for _ in range(2)]

    test()
