"""Adapted redis-py clients: one connection, a Cluster, Sentinels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import redis
from hiredis import pack_command
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException
from redis.sentinel import MasterNotFoundError, Sentinel

from .liveness import make_live
from .spin_wait import SpinWait

#: Maximum seconds for a reply to a Cluster's new client while it reads which node has which slots.
START_S = 5.0


@runtime_checkable
class Pipelining(Protocol):
    """A client that sends the next command before the previous reply has arrived."""

    def pipelined(self, commands: Iterable[tuple[object, ...]]) -> Iterator[Any]: ...

    def send_all(self, commands: Iterable[tuple[object, ...]]) -> list[Any]: ...


class OneConnection(redis.Redis):
    """A client on one dedicated connection. Packs script calls in C, since packing is most of a call's cost here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(single_connection_client=True, **options)
        self.auto_close_connection_pool = True
        #: Spin-waits for the replies to scripts, if set.
        self.spin_wait: SpinWait | None = None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] != "EVALSHA":
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        self._send(args)
        connection: Any = self.connection
        if self.spin_wait is not None and self.spin_wait.wait(connection._sock.fileno()):
            return connection.read_arrived()
        return connection.read_response()

    def pipelined(self, commands: Iterable[tuple[object, ...]]) -> Iterator[Any]:
        connection: Any = self.connection
        waiting = False
        for command in commands:
            self._send(command, check_health=not waiting)
            if waiting:
                yield connection.read_response()
            waiting = True
        if waiting:
            yield connection.read_response()

    def send_all(self, commands: Iterable[tuple[object, ...]]) -> list[Any]:
        connection: Any = self.connection
        packed = [_packed(command) for command in commands]
        connection.send_packed_command(packed)
        return [_reply_or_error(connection) for _ in packed]

    def _send(self, command: tuple[object, ...], check_health: bool = True) -> None:
        connection: Any = self.connection
        connection.send_packed_command([_packed(command)], check_health=check_health)


def _packed(command: tuple[object, ...]) -> bytes:
    parts: Any = tuple(map(str, command))
    return bytes(pack_command(parts))


def _reply_or_error(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as exc:
        return exc


def pipelined(client: Any, commands: Iterable[tuple[object, ...]]) -> Iterator[Any]:
    """Yield the replies to commands, sending each before reading the previous reply, if ``client`` can.

    So the server works on one while the next is packed. After an error a reply may still be pending: unless the last
    command failed, the connection must be closed.
    """
    if isinstance(client, Pipelining):
        return client.pipelined(commands)
    return (client.execute_command(*command) for command in commands)


def send_all(client: Any, commands: Iterable[tuple[object, ...]]) -> list[Any]:
    """Send all commands in one round trip; return the replies, some of which may be a ``ResponseError``."""
    if isinstance(client, Pipelining):
        return client.send_all(commands)
    pipe = client.pipeline(transaction=False)
    for command in commands:
        pipe.execute_command(*command)
    return list(pipe.execute(raise_on_error=False))


class Cluster(RedisCluster):
    """A Cluster client that raises the same errors as other clients and detects dead connections."""

    def __init__(self, *, late_s: float | None, socket_timeout: float | None, **options: Any) -> None:
        self._late_s = late_s
        # The first connections are redis-py's own, which do not detect that they are dead: they must not wait for long.
        super().__init__(socket_timeout=min(socket_timeout or START_S, START_S), **options)
        self.nodes_manager.connection_kwargs["socket_timeout"] = socket_timeout
        for node in self.get_nodes():  # type: ignore[no-untyped-call]
            self.get_redis_connection(node).connection_pool.connection_kwargs["socket_timeout"] = socket_timeout

    def get_redis_connection(self, node: ClusterNode) -> redis.Redis:
        client = super().get_redis_connection(node)
        make_live(client.connection_pool, self._late_s)
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except RedisClusterException as exc:  # not a RedisError, so callers would not catch it
            raise redis.ConnectionError(str(exc)) from exc


class Sentinels(Sentinel):
    """Sentinels that raise a short error if none knows the primary. Each request uses new connections."""

    def discover_master(self, service_name: str) -> Any:
        for each in self.sentinels:
            each.connection_pool.disconnect(inuse_connections=False)
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except MasterNotFoundError as exc:
            asked = f"none of the {len(self.sentinels)} sentinels knows a reachable primary {service_name!r}"
            raise MasterNotFoundError(asked) from exc
