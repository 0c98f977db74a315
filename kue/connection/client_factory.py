"""Create Redis clients from a URL, or with the settings of a user's client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import RedisClusterException
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from .clients import Cluster, OneConnection, Sentinels
from .liveness import LATE_S, keepalive_options, make_live
from .url import Address

#: Seconds to wait for a connection, and for a reply, before Redis counts as unreachable.
CONNECT_S = 5.0
ANSWER_S = 5.0
#: The same for a sentinel and for a Cluster node: there are others to ask.
SENTINEL_S = 1.0
NODE_CONNECT_S = 2.0

#: Options of all our connections: decoded text, one protocol version, no hidden retries.
COMMON: dict[str, Any] = {"decode_responses": True, "encoding_errors": "replace", "protocol": 2}
#: What our connections call themselves. Without it redis-py 7 and later read their version from a file for each client,
#: and that takes as long as the connecting.
DRIVER: dict[str, Any] = {"driver_info": redis.DriverInfo()} if hasattr(redis, "DriverInfo") else {}


def base_options(answer_s: float | None) -> dict[str, Any]:
    return {
        **COMMON,
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": answer_s,
        "socket_keepalive": True,
        "socket_keepalive_options": keepalive_options(),
        "retry": Retry(NoBackoff(), 0),
    }


def from_address(address: Address, answer_s: float | None, single: bool) -> Any:
    """Return a client for a URL. ``single``: with one dedicated connection, where possible."""
    options = {**base_options(answer_s), **DRIVER, **address.options}
    if "socket_timeout" in address.options and answer_s is not None:
        options["socket_timeout"] = own_answer(answer_s, address.options["socket_timeout"])
    late_s = late_after(answer_s, options["socket_timeout"])
    if address.scheme == "redis+cluster":
        return _cluster(address.hosts, options, late_s)
    if address.scheme != "redis+sentinel":
        make: Any = redis.Redis
        if address.scheme == "unix":
            client = make(unix_socket_path=address.path, **for_unix_socket(options))
        else:
            (host, port), *_ = address.hosts
            client = make(host=host, port=port, **options)
        make_live(client.connection_pool, late_s)
        return OneConnection(connection_pool=client.connection_pool) if single else client
    shared = {name: value for name, value in address.options.items() if name.startswith("ssl")}
    sentinel_options = {
        "socket_timeout": SENTINEL_S, "retry": Retry(NoBackoff(), 0), "protocol": 2,
        "socket_keepalive": True, "socket_keepalive_options": keepalive_options(),
        **shared, **address.sentinel_options,
    }  # fmt: skip
    make = Sentinels
    sentinel = make(list(address.hosts), sentinel_kwargs=sentinel_options, **options)
    client = sentinel.master_for(address.service)
    make_live(client.connection_pool, late_s)
    return client


def late_after(answer_s: float | None, timeout_s: float | None) -> float | None:
    """Return when a reply counts as late, seconds, plus any blocking time. None: the timeout comes first."""
    if answer_s is None or timeout_s is None:
        return None
    late_s = LATE_S + max(0.0, answer_s - ANSWER_S)
    return late_s if late_s < timeout_s else None


def own_answer(answer_s: float, own_s: float) -> float:
    """Return the timeout of a connection whose user set one: the blocking time is added to it."""
    return answer_s - ANSWER_S + own_s if answer_s >= ANSWER_S else min(answer_s, own_s)


def for_unix_socket(options: dict[str, Any]) -> dict[str, Any]:
    tcp_only = ("socket_connect_timeout", "socket_keepalive", "socket_keepalive_options")
    return {name: value for name, value in options.items() if name not in tcp_only}


def like(client: redis.Redis, answer_s: float | None, single: bool) -> redis.Redis:
    """Return a client with the settings of another, on its own connections."""
    pool: Any = client.connection_pool
    kwargs = {**DRIVER, **pool.connection_kwargs, **base_options(answer_s)}
    for name in [each for each in kwargs if each == "connection_pool" or each.startswith("maint_")]:
        del kwargs[name]  # options that belong to that pool
    kwargs["socket_keepalive_options"] |= own_keepalive(pool.connection_kwargs)
    late_s = late_after(answer_s, answer_s)
    if issubclass(pool.connection_class, redis.UnixDomainSocketConnection):
        kwargs = for_unix_socket(kwargs)
    kwargs["connection_class"] = pool.connection_class
    if isinstance(pool, SentinelConnectionPool):
        make: Any = SentinelConnectionPool
        made_pool = make(pool.service_name, pool.sentinel_manager, is_master=pool.is_master, **kwargs)
        make_live(made_pool, late_s)
        return redis.Redis.from_pool(made_pool)
    made_pool = type(pool)(**kwargs)
    make_live(made_pool, late_s)
    return OneConnection(connection_pool=made_pool) if single else redis.Redis.from_pool(made_pool)


def own_keepalive(options: Mapping[str, Any]) -> dict[int, int]:
    """Return the keepalive options of the user's client, which override ours."""
    own = options.get("socket_keepalive_options")
    return dict(own) if isinstance(own, Mapping) else {}


def like_cluster(client: Any, answer_s: float | None) -> Any:
    """Return a client of the same Cluster as another, on its own connections."""
    kwargs = {**client.get_connection_kwargs(), **COMMON, "socket_timeout": answer_s, "socket_keepalive": True}
    kwargs["socket_keepalive_options"] = keepalive_options() | own_keepalive(kwargs)
    for name in ("host", "port", "connection_class", "redis_connect_func", "retry"):
        kwargs.pop(name, None)
    kwargs["address_remap"] = client.nodes_manager.address_remap
    return _cluster([(node.host, node.port) for node in client.get_nodes()], kwargs, late_after(answer_s, answer_s))


def _cluster(hosts: Iterable[tuple[str, int]], options: dict[str, Any], late_s: float | None) -> Any:
    """Return a client of the Cluster that ``hosts`` belong to. Fails like a connection if none replies."""
    node: Any = ClusterNode
    nodes = [node(host, port) for host, port in hosts]
    options = {"socket_connect_timeout": NODE_CONNECT_S, **options, "retry": Retry(NoBackoff(), 0)}
    try:
        # Queues on other shards keep working if one shard has no node.
        return Cluster(startup_nodes=nodes, require_full_coverage=False, late_s=late_s, **options)
    except RedisClusterException as exc:
        raise redis.ConnectionError(str(exc)) from exc
