"""Connections to any Redis: a URL, a client, a factory, Sentinel, Cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

from ..errors import InvalidAddress, KueError, QueueUnavailable
from .liveness import LATE_S, ConnectionForgotten, LiveConnection, keepalive_options, make_live
from .outage_log import Outage
from .spin_wait import Awake
from .url import Address, parse, without_password

log = logging.getLogger("kue")

DEFAULT_URL = "redis://127.0.0.1:6379/0"

#: Seconds to wait for a connection, and for an answer on one, before Redis counts as away.
CONNECT_S = 5.0
ANSWER_S = 5.0
#: The same for a sentinel, and for a node of a Cluster: there is another one to ask.
SENTINEL_S = 1.0
NODE_CONNECT_S = 2.0

#: Seconds between tries: the first pause, and the longest.
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0

#: Connections that the server is told to close at most, when it is back.
DROPPED_MAX = 20

T = TypeVar("T")

#: Errors that pass when Redis is back (or writable again). A script whose fate is unknown is safe to repeat.
TRANSIENT = (
    redis.ConnectionError, redis.TimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, ClusterDownError,
    TryAgainError, OSError,
)  # fmt: skip

_LATER = ("LOADING", "READONLY", "OOM", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "UNBLOCKED")


def is_transient(error: BaseException) -> bool:
    """Tell whether a failed call may succeed later, unchanged."""
    if isinstance(error, (*TRANSIENT, RedisClusterException)):
        return not isinstance(error, redis.AuthenticationError)
    # Inside a script a refusal arrives as a plain ResponseError that names the reason somewhere.
    return isinstance(error, ResponseError) and any(word in str(error) for word in _LATER)


#: What a caller is told about a call whose fate is unknown.
CALL_IN_DOUBT = "The call may or may not have taken effect; try again later."
CREATE_IN_DOUBT = "The job may or may not have been created; saving the same object again is safe."


def unavailable(error: BaseException, in_doubt: str = CALL_IN_DOUBT) -> KueError:
    """Return the error that a user's call raises when Redis could not be asked."""
    fault = "refuses" if isinstance(error, ResponseError) else "is unreachable"
    return QueueUnavailable(f"Redis {fault} ({error}). {in_doubt}")


#: What every connection of ours has: text, one protocol, and no hidden second try.
_COMMON: dict[str, Any] = {"decode_responses": True, "encoding_errors": "replace", "protocol": 2}


def _options(answer_s: float | None) -> dict[str, Any]:
    return {
        **_COMMON,
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": answer_s,
        "socket_keepalive": True,
        "socket_keepalive_options": keepalive_options(),
        "retry": Retry(NoBackoff(), 0),
    }


@runtime_checkable
class Locator(Protocol):
    """A Redis that is looked for when the first connection is made."""

    def address(self) -> Address:
        """Return where it is. Raises redis.ConnectionError if it is not there yet."""

    def close(self) -> None:
        """Let go of what was started for it."""

    def after_fork(self) -> None:
        """Called in a child process."""


class Connector:
    """Makes the clients of one queue, all alike, from what the user gave.

    ``source``: a URL (see address.py), a Locator, a ``redis.Redis``, a ``RedisCluster``, or a function that
    returns one; it is called at once, to see which, and again for each connection. A client given by the user is only a
    pattern: ours use connections of their own, made with its settings, and never close the user's.
    """

    def __init__(self, source: object = DEFAULT_URL) -> None:
        #: Whether Redis is away, as all connections of this queue see it.
        self.outage = Outage()
        self._shared: Any = None
        self._source: Any = source
        self._told = ""  # the URL that was given, until it has been logged
        self.is_cluster = False
        if isinstance(source, Locator):
            return
        pattern: Any = source
        if isinstance(pattern, str):
            self._source = pattern = parse(pattern)
            self._told = without_password(str(source)).removeprefix("redis://")
        elif callable(pattern) and not isinstance(pattern, (redis.Redis, RedisCluster)):
            try:
                pattern = pattern()
            except RedisClusterException:
                self.is_cluster = True  # only a Cluster's client connects when it is made
                return
        if not isinstance(pattern, (Address, redis.Redis, RedisCluster)):
            raise InvalidAddress(
                f"redis is a URL, a redis.Redis, a RedisCluster or a function giving one, not {pattern!r}"
            )
        self.is_cluster = isinstance(pattern, RedisCluster) or (
            isinstance(pattern, Address) and pattern.scheme == "redis+cluster"
        )

    def shared(self) -> Any:
        """Return the client for everybody's occasional calls; it keeps a pool and is safe in any thread."""
        if self._shared is None:
            self._shared = self._make(ANSWER_S, single=False)
            if self._told:
                log.info("jobs are in Redis at %s", self._told)
                self._told = ""
        return self._shared

    def dedicated(self, answer_s: float | None = ANSWER_S) -> Any:
        """Return a new client with one connection of its own, for one thread; ``answer_s`` None waits for ever."""
        return self._make(answer_s, single=True)

    def after_fork(self) -> None:
        """Called in a child process: leave the parent's connections alone. Their locks may be held for ever here."""
        self._shared, on_away = None, self.outage.on_away
        self.outage = Outage()
        self.outage.on_away = on_away
        if isinstance(self._source, Locator):
            self._source.after_fork()

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        if isinstance(self._source, Locator):
            self._source.close()

    def _make(self, answer_s: float | None, *, single: bool) -> Any:
        source: Any = self._source
        if isinstance(source, Locator):
            source = source.address()
        if isinstance(source, Address):
            return _from_address(source, answer_s, single)
        if not isinstance(source, (redis.Redis, RedisCluster)):
            source = source()
        return _like_cluster(source, answer_s) if isinstance(source, RedisCluster) else _like(source, answer_s, single)


class OneConnection(redis.Redis):
    """A client on one connection of its own, whose scripts are packed in C: most of the rest of a call's cost here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(single_connection_client=True, **options)
        self.auto_close_connection_pool = True
        #: How to wait for the answers to scripts, if not asleep.
        self.awake: Awake | None = None

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if args[0] != "EVALSHA":
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        self._send(args)
        connection: Any = self.connection
        if self.awake is not None and self.awake.wait(connection._sock.fileno()):
            return connection.read_arrived()
        return connection.read_response()

    def ahead(self, commands: Iterable[tuple[object, ...]]) -> Iterator[Any]:
        connection: Any = self.connection
        waiting = False
        for command in commands:
            self._send(command, check_health=not waiting)
            if waiting:
                yield connection.read_response()
            waiting = True
        if waiting:
            yield connection.read_response()

    def _send(self, command: tuple[object, ...], check_health: bool = True) -> None:
        connection: Any = self.connection
        words: Any = tuple(map(str, command))
        connection.send_packed_command([pack_command(words)], check_health=check_health)


def ahead(client: Any, commands: Iterable[tuple[object, ...]]) -> Iterator[Any]:
    """Yield the answers to commands, each sent before the answer to the one before is waited for, if ``client`` can.

    So the server works on one while the next is packed. After an error an answer may still be on its way: unless it was
    the last one's, the connection must be given up.
    """
    if isinstance(client, OneConnection):
        return client.ahead(commands)
    return (client.execute_command(*command) for command in commands)


class Cluster(RedisCluster):
    """A Cluster's client that fails as other clients do, on connections that notice when they are dead."""

    def __init__(self, *, late_s: float | None, **options: Any) -> None:
        self._late_s = late_s
        super().__init__(**options)
        for node in self.get_nodes():  # type: ignore[no-untyped-call]
            self.get_redis_connection(node)

    def get_redis_connection(self, node: ClusterNode) -> redis.Redis:
        client = super().get_redis_connection(node)
        make_live(client.connection_pool, self._late_s)
        return client

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except RedisClusterException as exc:  # no RedisError: nobody would catch it
            raise redis.ConnectionError(str(exc)) from exc


def _is_forgotten(connection: object) -> bool:
    return isinstance(connection, LiveConnection) and connection.is_forgotten()


class Link:
    """One dedicated connection, opened when first used and again after a failure; for one thread at a time.

    ``fenced``: when it is opened again, the server is told to close the one before, so that what still lies in that is
    never done after its repetition (not on a Cluster).
    """

    def __init__(
        self, connector: Connector, answer_s: float | None = ANSWER_S, *, fenced: bool = False, awake: bool = False
    ) -> None:
        self._connector, self._answer_s = connector, answer_s
        self._awake = Awake() if awake else None
        self._fenced = fenced and not connector.is_cluster
        self._client: Any = None
        self._name: tuple[str, str] | None = None  # id and address of the connection, as the server knows it
        self._dropped: list[tuple[str, str]] = []
        #: When the connection was last opened, monotonic s.
        self.opened_at = 0.0

    @property
    def client(self) -> Any:
        if isinstance(self._client, OneConnection) and _is_forgotten(self._client.connection):
            self.drop()  # here rather than in the call, since the new connection must be fenced first
        if self._client is None:
            self.opened_at = time.monotonic()
            self._client = self._connector.dedicated(self._answer_s)
            if self._fenced:
                self._fence(self._client)
            if isinstance(self._client, OneConnection):
                self._client.awake = self._awake
        return self._client

    def _fence(self, client: Any) -> None:
        try:
            found = dict(part.partition("=")[::2] for part in client.execute_command("CLIENT", "INFO").split())
            self._name = found["id"], found["addr"]
            for number, address in self._dropped:  # both, since a server that was restarted counts its ids anew
                client.execute_command("CLIENT", "KILL", "ID", number, "ADDR", address)
        except (ResponseError, KeyError):
            pass  # a server too old for that, or that allows us no such command
        self._dropped.clear()

    def drop(self) -> None:
        """Forget the connection; a half-read answer must never meet the next question."""
        if self._name is not None:
            self._dropped, self._name = [*self._dropped, self._name][-DROPPED_MAX:], None
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except (RedisError, OSError):
                pass

    def patiently(self, call: Callable[[Any], T], patience_s: float, in_doubt: str = CALL_IN_DOUBT) -> T:
        """Return ``call(client)``, repeated for ``patience_s`` while Redis is away; then raise QueueUnavailable.

        Only for calls that are safe to repeat when their answer was lost.
        """
        return patiently(lambda: call(self.client), patience_s, self.drop, in_doubt)


def patiently(
    call: Callable[[], T],
    patience_s: float,
    after_failure: Callable[[], object] = lambda: None,
    in_doubt: str = CALL_IN_DOUBT,
) -> T:
    """Return ``call()``, repeated for ``patience_s`` while it fails for a reason that passes; then QueueUnavailable.

    ``in_doubt`` is the sentence about the call that the error ends with.
    """
    give_up, pause, renewed = time.monotonic() + patience_s, RETRY_FIRST_S, False
    while True:
        try:
            return call()
        except Exception as exc:
            after_failure()
            if isinstance(exc, ConnectionForgotten) and not renewed:
                renewed = True
                continue  # however late it was found: a new connection works
            if not is_transient(exc):
                raise
            if time.monotonic() + pause > give_up:
                raise unavailable(exc, in_doubt) from exc
        time.sleep(pause)
        pause = min(pause * 2, RETRY_MAX_S)


class Sentinels(Sentinel):
    """Sentinels that say in a few words what they do not know; asked rarely, and each time over new connections."""

    def discover_master(self, service_name: str) -> Any:
        for each in self.sentinels:
            each.connection_pool.disconnect(inuse_connections=False)
        try:
            return super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except MasterNotFoundError as exc:
            asked = f"none of the {len(self.sentinels)} sentinels knows a primary {service_name!r} that answers"
            raise MasterNotFoundError(asked) from exc


def _from_address(address: Address, answer_s: float | None, single: bool) -> Any:
    options = {**_options(answer_s), **address.options}
    if "socket_timeout" in address.options and answer_s is not None:
        options["socket_timeout"] = _answer(answer_s, address.options["socket_timeout"])
    late_s = _late(answer_s, options["socket_timeout"])
    if address.scheme == "redis+cluster":
        return _cluster(address.hosts, options, late_s)
    if address.scheme != "redis+sentinel":
        make: Any = redis.Redis
        if address.scheme == "unix":
            client = make(unix_socket_path=address.path, **_for_unix_socket(options))
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


def _late(answer_s: float | None, timeout_s: float | None) -> float | None:
    """Return the seconds after which an answer is late, what blocks being added. None: the timeout comes first."""
    if answer_s is None or timeout_s is None:
        return None
    late_s = LATE_S + max(0.0, answer_s - ANSWER_S)
    return late_s if late_s < timeout_s else None


def _answer(answer_s: float, own_s: float) -> float:
    """Return the timeout of a connection whose user said how long an answer may take: what blocks gets that on top."""
    return answer_s - ANSWER_S + own_s if answer_s >= ANSWER_S else min(answer_s, own_s)


def _for_unix_socket(options: dict[str, Any]) -> dict[str, Any]:
    tcp_only = ("socket_connect_timeout", "socket_keepalive", "socket_keepalive_options")
    return {name: value for name, value in options.items() if name not in tcp_only}


def _like(client: redis.Redis, answer_s: float | None, single: bool) -> redis.Redis:
    pool: Any = client.connection_pool
    kwargs = {**pool.connection_kwargs, **_options(answer_s)}
    for name in [each for each in kwargs if each == "connection_pool" or each.startswith("maint_")]:
        del kwargs[name]  # what belongs to that pool
    kwargs["socket_keepalive_options"] |= _own_keepalive(pool.connection_kwargs)
    late_s = _late(answer_s, answer_s)
    if issubclass(pool.connection_class, redis.UnixDomainSocketConnection):
        kwargs = _for_unix_socket(kwargs)
    kwargs["connection_class"] = pool.connection_class
    if isinstance(pool, SentinelConnectionPool):
        make: Any = SentinelConnectionPool
        made_pool = make(pool.service_name, pool.sentinel_manager, is_master=pool.is_master, **kwargs)
        make_live(made_pool, late_s)
        return redis.Redis.from_pool(made_pool)
    made_pool = type(pool)(**kwargs)
    make_live(made_pool, late_s)
    return OneConnection(connection_pool=made_pool) if single else redis.Redis.from_pool(made_pool)


def _own_keepalive(options: Mapping[str, Any]) -> dict[int, int]:
    """Return the keepalive options that the user's client has, which go before ours."""
    own = options.get("socket_keepalive_options")
    return dict(own) if isinstance(own, Mapping) else {}


def _like_cluster(client: Any, answer_s: float | None) -> Any:
    kwargs = {**client.get_connection_kwargs(), **_COMMON, "socket_timeout": answer_s, "socket_keepalive": True}
    kwargs["socket_keepalive_options"] = keepalive_options() | _own_keepalive(kwargs)
    for name in ("host", "port", "connection_class", "redis_connect_func", "retry"):
        kwargs.pop(name, None)
    kwargs["address_remap"] = client.nodes_manager.address_remap
    return _cluster([(node.host, node.port) for node in client.get_nodes()], kwargs, _late(answer_s, answer_s))


def _cluster(hosts: Iterable[tuple[str, int]], options: dict[str, Any], late_s: float | None) -> Any:
    """Return a client of the Cluster that one of ``hosts`` belongs to. Fails as a connection does if none answers."""
    node: Any = ClusterNode
    nodes = [node(host, port) for host, port in hosts]
    options = {"socket_connect_timeout": NODE_CONNECT_S, **options, "retry": Retry(NoBackoff(), 0)}
    try:
        # A shard without a node is no reason to leave the queues on the others.
        return Cluster(startup_nodes=nodes, require_full_coverage=False, late_s=late_s, **options)
    except RedisClusterException as exc:
        raise redis.ConnectionError(str(exc)) from exc
