"""Create redis.asyncio clients from a URL, or with the settings of a user's sync or async client."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode as SyncClusterNode
from redis.cluster import RedisCluster as SyncRedisCluster
from redis.exceptions import RedisClusterException
from redis.sentinel import Sentinel as SyncSentinel
from redis.sentinel import SentinelConnectionPool as SyncSentinelConnectionPool

from ...connection.client_factory import (
    COMMON,
    DRIVER,
    NODE_CONNECT_S,
    SENTINEL_S,
    base_options,
    for_unix_socket,
    late_after,
    own_answer,
    own_keepalive,
)
from ...connection.liveness import keepalive_options
from ...connection.url import Address
from .clients import Cluster, Sentinels
from .liveness import make_live

#: Connection options that differ between sync and asyncio, or belong to the pool.
_OF_ITS_KIND = frozenset(
    ("retry", "retry_on_error", "redis_connect_func", "parser_class", "event_dispatcher", "connection_pool",
     "connection_class", "himport_registry", "command_packer", "encoder_class", "response_callbacks", "cache")
)  # fmt: skip
#: Options that a Cluster's connections take, but its client does not.
_OF_CONNECTIONS = ("ssl_ca_path", "ssl_password")


def from_address(address: Address, answer_s: float) -> Any:
    """Return a redis.asyncio client for a URL's address. May block on a DNS lookup: call it in a thread."""
    options = {**base_options(answer_s), **DRIVER, "retry": Retry(NoBackoff(), 0), **address.options}
    if "socket_timeout" in address.options:
        options["socket_timeout"] = own_answer(answer_s, address.options["socket_timeout"])
    late_s = late_after(answer_s, options["socket_timeout"])
    if address.scheme == "redis+cluster":
        return _cluster(address.hosts, options, late_s)
    if address.scheme == "redis+sentinel":
        shared = {name: value for name, value in address.options.items() if name.startswith("ssl")}
        return _guarded(address.hosts, address.service, {**shared, **address.sentinel_options}, options, late_s)
    make: Any = redis.asyncio.Redis
    if address.scheme == "unix":
        client = make(unix_socket_path=address.path, **for_unix_socket(options))
    else:
        (host, port), *_ = address.hosts
        client = make(host=host, port=port, **options)
    make_live(client.connection_pool, late_s)
    return client


def like(client: Any, answer_s: float) -> Any:
    """Return a redis.asyncio client with the settings of a sync or async client, on its own connections."""
    late_s = late_after(answer_s, answer_s)
    if isinstance(client, (SyncRedisCluster, redis.asyncio.RedisCluster)):
        kwargs = _portable(_cluster_kwargs(client)) | {**COMMON, "socket_timeout": answer_s, "socket_keepalive": True}
        kwargs["socket_keepalive_options"] = keepalive_options() | own_keepalive(kwargs)
        for name in ("host", "port"):
            kwargs.pop(name, None)
        if issubclass(_connection_class(client), (redis.SSLConnection, SSLConnection)):
            kwargs["ssl"] = True
        kwargs["address_remap"] = client.nodes_manager.address_remap
        return _cluster(_cluster_hosts(client), kwargs, late_s)
    pool: Any = client.connection_pool
    kwargs = {**DRIVER, **_portable(pool.connection_kwargs), **base_options(answer_s), "retry": Retry(NoBackoff(), 0)}
    kwargs["socket_keepalive_options"] |= own_keepalive(pool.connection_kwargs)
    if isinstance(pool, (SyncSentinelConnectionPool, SentinelConnectionPool)):
        manager: Any = pool.sentinel_manager
        if issubclass(pool.connection_class, (redis.SSLConnection, SSLConnection)):
            kwargs["ssl"] = True
        return _guarded(_sentinel_hosts(manager), pool.service_name, _portable(manager.sentinel_kwargs), kwargs, late_s)
    kind = pool.connection_class
    if not issubclass(kind, redis.asyncio.connection.AbstractConnection):
        kind = (
            UnixDomainSocketConnection if issubclass(kind, redis.UnixDomainSocketConnection)
            else SSLConnection if issubclass(kind, redis.SSLConnection) else Connection
        )  # fmt: skip
    if issubclass(kind, UnixDomainSocketConnection):
        kwargs = for_unix_socket(kwargs)
    made_pool: Any = ConnectionPool(connection_class=kind, **_accepted(kind, kwargs))
    make_live(made_pool, late_s)
    return redis.asyncio.Redis.from_pool(made_pool)


def sync_like(client: Any) -> Any:
    """Return a ``redis.Redis`` or ``RedisCluster`` with a redis.asyncio client's settings, as a pattern only.

    For a Cluster, return a function instead: a ``RedisCluster`` connects when it is created.
    """
    if isinstance(client, redis.asyncio.RedisCluster):
        is_tls = issubclass(_connection_class(client), SSLConnection)
        kwargs = _accepted(redis.SSLConnection if is_tls else redis.Connection, _portable(_cluster_kwargs(client)))
        for name in ("host", "port"):
            kwargs.pop(name, None)
        if is_tls:
            kwargs["ssl"] = True
        kwargs["address_remap"] = client.nodes_manager.address_remap
        node: Any = SyncClusterNode
        nodes = [node(host, port) for host, port in _cluster_hosts(client)]
        return lambda: SyncRedisCluster(startup_nodes=nodes, **kwargs)
    pool: Any = client.connection_pool
    kwargs = _portable(pool.connection_kwargs)
    if isinstance(pool, SentinelConnectionPool):
        manager: Any = pool.sentinel_manager
        make: Any = SyncSentinel
        if issubclass(pool.connection_class, SSLConnection):
            kwargs["ssl"] = True
        sentinel = make(_sentinel_hosts(manager), sentinel_kwargs=_portable(manager.sentinel_kwargs), **kwargs)
        return sentinel.master_for(pool.service_name)
    kind: Any = (
        redis.UnixDomainSocketConnection if issubclass(pool.connection_class, UnixDomainSocketConnection)
        else redis.SSLConnection if issubclass(pool.connection_class, SSLConnection) else redis.Connection
    )  # fmt: skip
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, **_accepted(kind, kwargs)))


def _portable(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the connection options that sync and asyncio share."""
    return {
        name: value for name, value in kwargs.items() if name not in _OF_ITS_KIND and not name.startswith("maint_")
    }


def _accepted(kind: type, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the options that a connection class accepts."""
    names = {name for each in kind.__mro__ if "__init__" in vars(each) for name in inspect.signature(each).parameters}
    return {name: value for name, value in kwargs.items() if name in names}


def _connection_class(client: Any) -> Any:
    if isinstance(client, redis.asyncio.RedisCluster):
        return client.connection_kwargs["connection_class"]
    return redis.SSLConnection if client.get_connection_kwargs().get("ssl") else redis.Connection


def _cluster_kwargs(client: Any) -> Mapping[str, Any]:
    if isinstance(client, redis.asyncio.RedisCluster):
        return client.connection_kwargs
    return client.get_connection_kwargs()  # type: ignore[no-any-return]


def _cluster_hosts(client: Any) -> list[tuple[str, int]]:
    nodes = client.get_nodes() or client.nodes_manager.startup_nodes.values()
    return [(node.host, int(node.port)) for node in nodes]


def _sentinel_hosts(manager: Any) -> list[tuple[str, int]]:
    kwargs = [each.connection_pool.connection_kwargs for each in manager.sentinels]
    return [(each["host"], each["port"]) for each in kwargs]


def _guarded(
    hosts: Iterable[tuple[str, int]], service: str, sentinel: dict[str, Any], options: dict[str, Any],
    late_s: float | None,
) -> Any:  # fmt: skip
    """Return a client of the primary with this service name, found through sentinels."""
    sentinel_options = {
        "socket_timeout": SENTINEL_S, "retry": Retry(NoBackoff(), 0), "protocol": 2,
        "socket_keepalive": True, "socket_keepalive_options": keepalive_options(), **sentinel,
    }  # fmt: skip
    make: Any = Sentinels
    client = make(list(hosts), sentinel_kwargs=sentinel_options, **options).master_for(service)
    make_live(client.connection_pool, late_s)
    return client


def _cluster(hosts: Iterable[tuple[str, int]], options: dict[str, Any], late_s: float | None) -> Any:
    """Return a client of the Cluster that ``hosts`` belong to. It connects on its first command."""
    options = {"socket_connect_timeout": NODE_CONNECT_S, **options, "retry": Retry(NoBackoff(), 0)}
    more = {name: options.pop(name) for name in _OF_CONNECTIONS if name in options}
    options.pop("db", None)
    try:
        # Queues on other shards keep working if one shard has no node.
        return Cluster(
            startup_nodes=[ClusterNode(host, port) for host, port in hosts], require_full_coverage=False,
            late_s=late_s, more=more, **_accepted(redis.asyncio.RedisCluster, options),
        )  # fmt: skip
    except RedisClusterException as exc:
        raise redis.ConnectionError(str(exc)) from exc
