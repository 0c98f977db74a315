"""Clients of redis.asyncio in the form of redis-py's other clients, for code that runs below ``bridge.run``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import redis
import redis.asyncio
from hiredis import pack_command
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.commands import CoreCommands
from redis.exceptions import RedisClusterException, RedisError

from ..concurrency.bridge import wait
from .liveness import live

T = TypeVar("T")

#: Commands of everybody that are under way at once; further ones wait.
SHARED_MAX = 32


class BridgedClient(CoreCommands):
    """A client of redis.asyncio, called as a ``redis.Redis``: each call waits on the event loop."""

    _event_dispatcher: Any = None

    def __init__(self, client: Any) -> None:
        self._client = client
        self._places = asyncio.Semaphore(SHARED_MAX)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        return wait(self._limited(self._client.execute_command(*args, **options)))

    def pipeline(self, transaction: bool = True) -> Any:
        return _BridgedPipeline(self, self._client.pipeline(transaction=transaction))

    def close(self) -> None:
        wait(close(self._client))

    async def _limited(self, call: Awaitable[T]) -> T:
        try:
            async with self._places:
                return await call
        finally:
            if asyncio.iscoroutine(call):
                call.close()  # cancelled before it began


class _BridgedPipeline(CoreCommands):
    """A pipeline of redis.asyncio, called as one of ``redis.Redis``."""

    _event_dispatcher: Any = None

    def __init__(self, client: BridgedClient, pipeline: Any) -> None:
        self._client, self._pipeline = client, pipeline

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self._pipeline.execute_command(*args, **options)
        return self

    def execute(self, raise_on_error: bool = True) -> Any:
        return wait(self._client._limited(self._pipeline.execute(raise_on_error=raise_on_error)))


class OneConnection:
    """A client on one connection of its own, for one greenlet at a time: scripts, and whatever has plain answers."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._connection: Any = None

    def execute_command(self, *args: Any) -> Any:
        return wait(self._execute(args))

    def pipelined(self, commands: Iterable[tuple[object, ...]]) -> Iterator[Any]:
        """Yield the answers to commands, each sent before the answer to the one before is waited for."""
        waiting = False
        for command in commands:
            wait(self._send(command, check_health=not waiting))
            if waiting:
                yield wait(self._connection.read_response())
            waiting = True
        if waiting:
            yield wait(self._connection.read_response())

    def close(self) -> None:
        wait(self.aclose())

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
        await close(self._client)

    async def connection(self) -> Any:
        """Return the connection, opened if it is not."""
        if self._connection is None:
            self._connection = await new_connection(self._client)
        if not self._connection.is_connected:
            await self._connection.connect()
        return self._connection

    async def _execute(self, command: tuple[object, ...]) -> Any:
        await self._send(command)
        return await self._connection.read_response()

    async def _send(self, command: tuple[object, ...], check_health: bool = True) -> None:
        parts: Any = tuple(map(str, command))
        connection = await self.connection()
        await connection.send_packed_command([pack_command(parts)], check_health=check_health)


async def new_connection(client: Any) -> Any:
    """Return a new connection, not opened yet, to where a client is connected: on a Cluster to any of the primaries."""
    if not isinstance(client, redis.asyncio.RedisCluster):
        return client.connection_pool.make_connection()
    await client.initialize()
    node = client.get_default_node()
    return node.connection_class(**node.connection_kwargs)


async def close(client: Any) -> None:
    """Close a client of redis.asyncio, and what it asks for the primary."""
    with suppress(RedisError, OSError):
        await client.aclose()
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for each in manager.sentinels if manager is not None else ():
        with suppress(RedisError, OSError):
            await each.aclose()


class Cluster(redis.asyncio.RedisCluster):
    """A Cluster's client that fails as other clients do, on connections that notice when they are dead."""

    def __init__(self, *, late_s: float | None, more: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        #: What only connections take.
        more = {**more, "connection_class": live(self.connection_kwargs["connection_class"], late_s)}
        for kwargs in (self.connection_kwargs, self.nodes_manager.connection_kwargs):
            kwargs.update(more)
        more.pop("connection_class")
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_class = self.connection_kwargs["connection_class"]
            node.connection_kwargs.update(more)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)
        except RedisClusterException as exc:  # no RedisError: nobody would catch it
            raise redis.ConnectionError(str(exc)) from exc


class Sentinels(Sentinel):
    """Sentinels with a short error if none knows the primary; each request goes over new connections."""

    async def discover_master(self, service_name: str) -> Any:
        for each in self.sentinels:
            await each.connection_pool.disconnect(inuse_connections=False)
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError as exc:
            asked = f"none of the {len(self.sentinels)} sentinels knows a primary {service_name!r} that answers"
            raise MasterNotFoundError(asked) from exc
