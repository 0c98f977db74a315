"""The Redis connections of a queue: from a URL, a client, a factory, or a Redis located at first use."""

from __future__ import annotations

import logging
from typing import Any, Protocol, runtime_checkable

import redis
import redis.asyncio
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException

from ..errors import InvalidAddress
from .client_factory import ANSWER_S, from_address, like, like_cluster
from .outage_log import Outage
from .url import Address, parse, without_password

log = logging.getLogger("kue")

DEFAULT_URL = "redis://127.0.0.1:6379/0"


@runtime_checkable
class Locator(Protocol):
    """A Redis that is located when the first connection is made."""

    def address(self) -> Address:
        """Return its address. Raises redis.ConnectionError if there is none yet."""

    def close(self) -> None:
        """Stop what was started for it."""

    def after_fork(self) -> None:
        """Called in a forked child."""


class Connector:
    """Creates all clients of one queue, with the same settings.

    ``source``: a URL (see url.py), a Locator, a ``redis.Redis``, a ``RedisCluster``, or a function that returns one,
    called immediately to see which and again for each connection. A user's client only supplies settings: ours use
    their own connections and never close the user's.
    """

    #: The accepted clients.
    patterns: tuple[type, ...] = (redis.Redis, RedisCluster)

    def __init__(self, source: object = DEFAULT_URL) -> None:
        #: Whether Redis is unreachable, shared by all connections of this queue.
        self.outage = Outage()
        self._shared: Any = None
        self._source: Any = source
        self._shown_url = ""  # the URL, until it has been logged
        self.is_cluster = False
        if isinstance(source, Locator):
            return
        pattern: Any = source
        if isinstance(pattern, str):
            self._source = pattern = parse(pattern)
            self._shown_url = without_password(str(source)).removeprefix("redis://")
        elif callable(pattern) and not isinstance(pattern, self.patterns):
            try:
                pattern = pattern()
            except RedisClusterException:
                self.is_cluster = True  # only a Cluster client connects when it is created
                return
        if not isinstance(pattern, (Address, *self.patterns)):
            if isinstance(pattern, (redis.asyncio.Redis, redis.asyncio.RedisCluster)):
                raise InvalidAddress("a redis.asyncio client is for kue.aio.create_queue; here pass its URL instead")
            raise InvalidAddress(
                f"redis must be a URL, a redis.Redis, a RedisCluster or a function that returns one, not {pattern!r}"
            )
        self.is_cluster = isinstance(pattern, (RedisCluster, redis.asyncio.RedisCluster)) or (
            isinstance(pattern, Address) and pattern.scheme == "redis+cluster"
        )

    def shared(self) -> Any:
        """Return the shared client for occasional calls. It has a pool and is thread-safe."""
        if self._shared is None:
            made = self._make(ANSWER_S, single=False)
            if self._shared is None:  # otherwise another thread created one, and this one has no connection yet
                self._shared = made
            if self._shown_url:
                log.info("Using Redis at %s", self._shown_url)
                self._shown_url = ""
        return self._shared

    def dedicated(self, answer_s: float | None = ANSWER_S) -> Any:
        """Return a new client with one dedicated connection, for one thread. ``answer_s`` None: no reply timeout."""
        return self._make(answer_s, single=True)

    def after_fork(self) -> None:
        """Called in a forked child: leave the parent's connections alone. Their locks may never be released here."""
        self._shared, on_unreachable = None, self.outage.on_unreachable
        self.outage = Outage()
        self.outage.on_unreachable = on_unreachable
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
            return from_address(source, answer_s, single)
        if not isinstance(source, (redis.Redis, RedisCluster)):
            source = source()
        return like_cluster(source, answer_s) if isinstance(source, RedisCluster) else like(source, answer_s, single)
