"""redis.asyncio clients with the interface of redis-py's sync clients, for code under ``bridge.run``."""

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

from ...concurrency.bridge import wait
from .liveness import live

T = TypeVar("T")

#: Maximum number of commands in flight; further ones wait.
SHARED_MAX = 32


class BridgedClient(CoreCommands):
    """A redis.asyncio client with the interface of ``redis.Redis``. Each call waits on the event loop."""

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
                call.close()  # cancelled before it started


class _BridgedPipeline(CoreCommands):
    """A redis.asyncio pipeline with the interface of a ``redis.Redis`` pipeline."""

    _event_dispatcher: Any = None

    def __init__(self, client: BridgedClient, pipeline: Any) -> None:
        self._client, self._pipeline = client, pipeline

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self._pipeline.execute_command(*args, **options)
        return self

    def execute(self, raise_on_error: bool = True) -> Any:
        return wait(self._client._limited(self._pipeline.execute(raise_on_error=raise_on_error)))


class OneConnection:
    """A client on one dedicated connection, for one greenlet at a time. It returns replies unprocessed."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._connection: Any = None

    def execute_command(self, *args: Any) -> Any:
        return wait(self._execute(args))

    def pipelined(self, commands: Iterable[tuple[object, ...]]) -> Iterator[Any]:
        """Yield the replies to commands, sending each command before reading the previous reply."""
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
        """Return the connection; open it if needed."""
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
    """Return a new, unopened connection to the client's server (on a Cluster: to any primary)."""
    if not isinstance(client, redis.asyncio.RedisCluster):
        return client.connection_pool.make_connection()
    await client.initialize()
    node = client.get_default_node()
    return node.connection_class(**node.connection_kwargs)


async def close(client: Any) -> None:
    """Close a redis.asyncio client and its sentinel clients."""
    with suppress(RedisError, OSError):
        await client.aclose()
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for each in manager.sentinels if manager is not None else ():
        with suppress(RedisError, OSError):
            await each.aclose()


class Cluster(redis.asyncio.RedisCluster):
    """A Cluster client that raises the same errors as other clients and detects dead connections."""

    def __init__(self, *, late_s: float | None, more: dict[str, Any], **options: Any) -> None:
        super().__init__(**options)
        #: Options that only connections accept.
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
        except RedisClusterException as exc:  # not a RedisError, so callers would not catch it
            raise redis.ConnectionError(str(exc)) from exc


class Sentinels(Sentinel):
    """Sentinels that raise a short error if none knows the primary. Each request uses new connections."""

    async def discover_master(self, service_name: str) -> Any:
        for each in self.sentinels:
            await each.connection_pool.disconnect(inuse_connections=False)
        try:
            return await super().discover_master(service_name)
        except MasterNotFoundError as exc:
            asked = f"none of the {len(self.sentinels)} sentinels knows a primary {service_name!r} that answers"
            raise MasterNotFoundError(asked) from exc
