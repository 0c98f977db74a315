"""Connections to any Redis: a URL, a client, a factory, Sentinel, Cluster."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry
from redis.sentinel import Sentinel

from .errors import KueError, QueueUnavailable
from .outage import Outage

DEFAULT_URL = "redis://127.0.0.1:6379/0"

#: Seconds to wait for a connection, and for an answer on one, before Redis counts as away.
CONNECT_S = 5.0
ANSWER_S = 5.0

#: Seconds between tries: the first pause, and the longest.
RETRY_FIRST_S, RETRY_MAX_S = 0.05, 1.0

T = TypeVar("T")

#: Errors that pass when Redis is back (or writable again). A script whose fate is unknown is safe to repeat.
TRANSIENT = (redis.ConnectionError, redis.TimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError, OSError)

_LATER = ("LOADING", "READONLY", "OOM", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MISCONF", "UNBLOCKED")


def is_transient(error: BaseException) -> bool:
    """Tell whether a failed call may succeed later, unchanged."""
    if isinstance(error, TRANSIENT):
        return not isinstance(error, redis.AuthenticationError)
    # Inside a script a refusal arrives as a plain ResponseError that names the reason somewhere.
    return isinstance(error, ResponseError) and any(word in str(error) for word in _LATER)


def unavailable(error: BaseException) -> KueError:
    """Return the error that a user's call raises when Redis could not be asked."""
    return QueueUnavailable(f"Redis is not available ({error}); nothing is known to be changed, try again later")


#: What every connection of ours has: text, one protocol, and no hidden second try.
_COMMON: dict[str, Any] = {"decode_responses": True, "encoding_errors": "replace", "protocol": 2}


def _options(answer_s: float | None) -> dict[str, Any]:
    return {
        **_COMMON,
        "socket_connect_timeout": CONNECT_S,
        "socket_timeout": answer_s,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
    }


class Connector:
    """Makes the clients of one queue, all alike, from what the user gave.

    ``source``: None (127.0.0.1:6379), a URL (``redis://``, ``rediss://``, ``unix://``,
    ``redis+sentinel://host:port,host:port/service/db``, ``redis+cluster://host:port,host:port``), a ``redis.Redis``, a
    ``RedisCluster``, or a function that returns one. A client given by the user is only a pattern: ours use connections
    of their own, made with its settings, and never close the user's.
    """

    def __init__(self, source: object = None) -> None:
        self._source = DEFAULT_URL if source is None else source
        if isinstance(self._source, str):
            scheme = urlsplit(self._source).scheme
            if scheme not in ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster"):
                raise ValueError(
                    f"cannot connect to {_without_password(self._source)!r}: write redis://, rediss://, unix://, "
                    "redis+sentinel:// or redis+cluster://"
                )
        elif not (callable(self._source) or isinstance(self._source, (redis.Redis, RedisCluster))):
            raise ValueError(f"redis is a URL, a redis.Redis, a RedisCluster or a function giving one, not {source!r}")
        self._shared: Any = None
        self.outage = Outage()

    @property
    def is_cluster(self) -> bool:
        if isinstance(self._source, str):
            return self._source.startswith("redis+cluster:")
        return isinstance(self._source, RedisCluster)

    def shared(self) -> Any:
        """Return the client for everybody's occasional calls; it keeps a pool and is safe in any thread."""
        if self._shared is None:
            self._shared = self._make(ANSWER_S, single=False)
        return self._shared

    def dedicated(self, answer_s: float | None = ANSWER_S) -> Any:
        """Return a new client with one connection of its own, for one thread; ``answer_s`` None waits for ever."""
        return self._make(answer_s, single=True)

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def _make(self, answer_s: float | None, *, single: bool) -> Any:
        source: Any = self._source
        if not isinstance(source, (str, redis.Redis, RedisCluster)):
            source = source()
        if isinstance(source, RedisCluster):
            return _like_cluster(source, answer_s)
        if isinstance(source, redis.Redis):
            return _like(source, answer_s, single)
        scheme = urlsplit(source).scheme
        if scheme == "redis+sentinel":
            return _from_sentinel(source, answer_s)
        if scheme == "redis+cluster":
            return _from_cluster(source, answer_s)
        options = _options(answer_s)
        if scheme == "unix":
            options = _for_unix_socket(options)
        return redis.Redis.from_url(source, single_connection_client=single, **options)


class Link:
    """One dedicated connection, opened when first used and again after a failure; for one thread at a time."""

    def __init__(self, connector: Connector, answer_s: float | None = ANSWER_S) -> None:
        self._connector, self._answer_s = connector, answer_s
        self._client: Any = None
        #: When the connection was last opened, monotonic s.
        self.opened_at = 0.0

    @property
    def client(self) -> Any:
        if self._client is None:
            self.opened_at = time.monotonic()
            self._client = self._connector.dedicated(self._answer_s)
        return self._client

    def drop(self) -> None:
        """Forget the connection; a half-read answer must never meet the next question."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except (RedisError, OSError):
                pass

    def patiently(self, call: Callable[[Any], T], patience_s: float) -> T:
        """Return ``call(client)``, repeated for ``patience_s`` while Redis is away; then raise QueueUnavailable.

        Only for calls that are safe to repeat when their answer was lost.
        """
        return patiently(lambda: call(self.client), patience_s, self.drop)


def patiently(call: Callable[[], T], patience_s: float, after_failure: Callable[[], object] = lambda: None) -> T:
    """Return ``call()``, repeated for ``patience_s`` while it fails for a reason that passes; then QueueUnavailable."""
    give_up, pause = time.monotonic() + patience_s, RETRY_FIRST_S
    while True:
        try:
            return call()
        except Exception as exc:
            after_failure()
            if not is_transient(exc):
                raise
            if time.monotonic() + pause > give_up:
                raise unavailable(exc) from exc
        time.sleep(pause)
        pause = min(pause * 2, RETRY_MAX_S)


def _for_unix_socket(options: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in options.items() if name not in ("socket_connect_timeout", "socket_keepalive")
    }


def _like(client: redis.Redis, answer_s: float | None, single: bool) -> redis.Redis:
    pool = client.connection_pool
    kwargs = {**pool.connection_kwargs, **_options(answer_s)}
    kwargs.pop("maint_notifications_pool_handler", None)
    if issubclass(pool.connection_class, redis.UnixDomainSocketConnection):
        kwargs = _for_unix_socket(kwargs)
    made = type(pool)(connection_class=pool.connection_class, **kwargs)
    return redis.Redis(connection_pool=made, single_connection_client=single)


def _like_cluster(client: Any, answer_s: float | None) -> Any:
    kwargs = {**client.get_connection_kwargs(), **_COMMON, "socket_timeout": answer_s}
    for name in ("host", "port", "connection_class", "redis_connect_func", "retry"):
        kwargs.pop(name, None)
    return RedisCluster(startup_nodes=_nodes([(node.host, node.port) for node in client.get_nodes()]), **kwargs)


def _from_sentinel(url: str, answer_s: float | None) -> Any:
    parts = urlsplit(url)
    service, _, db = parts.path.lstrip("/").partition("/")
    options: dict[str, str] = dict(parse_qsl(parts.query))
    make: Any = Sentinel
    sentinel = make(
        _hosts(parts.netloc, 26379),
        sentinel_kwargs={
            "socket_timeout": CONNECT_S,
            "protocol": 2,
            **{name: options[f"sentinel_{name}"] for name in ("username", "password") if f"sentinel_{name}" in options},
        },
        **_options(answer_s),
        **_credentials(parts),
        db=int(db or options.get("db", "0")),
    )
    return sentinel.master_for(service or "mymaster")


def _from_cluster(url: str, answer_s: float | None) -> Any:
    parts = urlsplit(url)
    options = {**_COMMON, **_credentials(parts), "socket_timeout": answer_s, "socket_connect_timeout": CONNECT_S}
    return RedisCluster(startup_nodes=_nodes(_hosts(parts.netloc, 6379)), **options)


def _nodes(hosts: list[tuple[str, int]]) -> Any:
    make: Any = ClusterNode
    return [make(host, port) for host, port in hosts]


def _hosts(netloc: str, default_port: int) -> list[tuple[str, int]]:
    hosts = []
    for part in netloc.rpartition("@")[2].split(","):
        host, _, port = part.rpartition(":") if part.rpartition(":")[2].isdecimal() else (part, "", "")
        hosts.append((host.strip("[]"), int(port or default_port)))
    return hosts


def _credentials(parts: Any) -> dict[str, str]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    found = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in found.items() if value}


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{'…@' if '@' in rest else ''}{rest.rpartition('@')[2]}"
