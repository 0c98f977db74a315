"""The Redis connections of an asyncio queue: like connection/connector.py, with redis.asyncio clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from redis.cluster import RedisCluster

from ...concurrency.bridge import wait
from ...connection.client_factory import ANSWER_S
from ...connection.connector import Connector, Locator
from ...connection.url import Address
from . import client_factory
from .clients import BridgedClient, Cluster, OneConnection

#: The accepted clients, sync and asyncio.
PATTERNS = (redis.Redis, RedisCluster, redis.asyncio.Redis, redis.asyncio.RedisCluster)


class AsyncConnector(Connector):
    """Creates the clients of one asyncio queue. Call its methods under ``bridge.run``.

    Blocking steps (DNS lookup, starting the embedded server, a user's factory) run in a thread.
    """

    patterns = PATTERNS

    async def connection(self, answer_s: float) -> OneConnection:
        """Return a new client with one dedicated connection, also on a Cluster."""
        return OneConnection(await self._new_client(answer_s))

    def close(self) -> None:
        if self._shared is not None:
            shared, self._shared = self._shared, None
            shared.close()
        if isinstance(self._source, Locator):
            wait(asyncio.to_thread(self._source.close))

    def _make(self, answer_s: float | None, *, single: bool) -> Any:
        client = wait(self._new_client(ANSWER_S if answer_s is None else answer_s))
        return OneConnection(client) if single and not isinstance(client, Cluster) else BridgedClient(client)

    async def _new_client(self, answer_s: float) -> Any:
        source: Any = self._source
        if isinstance(source, Locator):
            source = await asyncio.to_thread(source.address)
        elif not isinstance(source, (Address, *self.patterns)):
            source = await asyncio.to_thread(source)
        if not isinstance(source, Address):
            return client_factory.like(source, answer_s)
        if source.scheme == "redis+cluster":  # it resolves "localhost"
            return await asyncio.to_thread(client_factory.from_address, source, answer_s)
        return client_factory.from_address(source, answer_s)


class _Borrowed:
    """The location of another queue's Redis. That queue closes it."""

    def __init__(self, place: Locator) -> None:
        self._place = place

    def address(self) -> Address:
        return self._place.address()

    def close(self) -> None:
        pass

    def after_fork(self) -> None:
        pass


def source_like(connector: Connector) -> object:
    """Return the source for another queue on the same Redis."""
    source: object = connector._source
    return _Borrowed(source) if isinstance(source, Locator) else source


def sync_source(source: object) -> object:
    """Convert an asyncio queue's ``redis`` argument to one that ``kue.Queue`` accepts."""
    if isinstance(source, (redis.asyncio.Redis, redis.asyncio.RedisCluster)):
        return client_factory.sync_like(source)
    if callable(source) and not isinstance(source, PATTERNS):
        factory: Callable[[], Any] = source

        def made() -> Any:
            client = factory()
            if not isinstance(client, (redis.asyncio.Redis, redis.asyncio.RedisCluster)):
                return client
            alike = client_factory.sync_like(client)
            return alike() if isinstance(client, redis.asyncio.RedisCluster) else alike

        return made
    return source
