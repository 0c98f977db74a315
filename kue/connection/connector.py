"""What a queue connects to: a URL, a client, a factory, or a Redis that is located at first use."""

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
        """Return where it is. Raises redis.ConnectionError if it is not there yet."""

    def close(self) -> None:
        """Release what was started for it."""

    def after_fork(self) -> None:
        """Called in a child process."""


class Connector:
    """Makes the clients of one queue, all alike, from what the user gave.

    ``source``: a URL (see address.py), a Locator, a ``redis.Redis``, a ``RedisCluster``, or a function that
    returns one; it is called at once, to see which, and again for each connection. A client given by the user is only a
    pattern: ours use connections of their own, made with its settings, and never close the user's.
    """

    #: The clients that a user may give.
    patterns: tuple[type, ...] = (redis.Redis, RedisCluster)

    def __init__(self, source: object = DEFAULT_URL) -> None:
        #: Whether Redis is unreachable, as all connections of this queue see it.
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
                self.is_cluster = True  # only a Cluster's client connects when it is made
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
        """Return the client for everybody's occasional calls; it keeps a pool and is safe in any thread."""
        if self._shared is None:
            made = self._make(ANSWER_S, single=False)
            if self._shared is None:  # else somebody made one meanwhile, and this one has no connection yet
                self._shared = made
            if self._shown_url:
                log.info("Using Redis at %s", self._shown_url)
                self._shown_url = ""
        return self._shared

    def dedicated(self, answer_s: float | None = ANSWER_S) -> Any:
        """Return a new client with one connection of its own, for one thread; ``answer_s`` None waits for ever."""
        return self._make(answer_s, single=True)

    def after_fork(self) -> None:
        """Called in a child process: leave the parent's connections alone. Their locks may be held for ever here."""
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
