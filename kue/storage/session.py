"""One queue's access to Redis: connections, key names, scripts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from redis.exceptions import ResponseError

from ..connection.connector import Connector
from ..connection.failures import with_retries
from .keys import Keys, check_prefix
from .scripts import Scripts

log = logging.getLogger("kue")

#: Seconds that a user's call is retried while Redis is unreachable, before QueueUnavailable.
PATIENCE_S = 2.0


class Session:
    """State shared by the components of a queue. ``source``: a Connector's source."""

    connector_class: type[Connector] = Connector

    def __init__(self, source: object, prefix: str) -> None:
        self.connector = self.connector_class(source)
        check_prefix(prefix)
        if self.connector.is_cluster and "{" not in prefix:
            prefix = f"{{{prefix}}}"  # like Node Kue with ioredis: all keys of a queue in one slot
        self.keys = Keys(prefix)
        self.scripts = Scripts(self.keys)

    def call(self, call: Callable[[Any], Any], patience_s: float = PATIENCE_S) -> Any:
        """Return ``call(client)``, retried for a while if Redis is unreachable; then raise QueueUnavailable."""
        return with_retries(lambda: call(self.connector.shared()), patience_s)

    def read_one(self, *command: object, default: Any) -> Any:
        """Return the reply to a read command, or ``default`` if its key has the wrong type."""
        return self.read_each([command], default)[0]

    def read_each(self, commands: Sequence[Sequence[object]], default: Any) -> list[Any]:
        """Return the replies to read commands, in one round trip: ``default`` for a key of the wrong type.

        Such a key does not belong to this queue. It is ignored, so that everything else can be read; the doctor reports
        it.
        """
        if not commands:
            return []

        def read(client: Any) -> Any:
            pipe = client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command)
            answers = pipe.execute(raise_on_error=False)
            for command, answer in zip(commands, answers, strict=True):
                if isinstance(answer, Exception) and not _is_wrong_type(answer):
                    raise answer
                if isinstance(answer, Exception):
                    _report_wrong_type(str(command[1]))
            return answers

        return [default if isinstance(answer, Exception) else answer for answer in self.call(read)]


@lru_cache(maxsize=1000)
def _report_wrong_type(key: str) -> None:
    """Log once per key, not at every refresh of a page."""
    log.warning("Ignoring key %s: it holds the wrong type of value", key)


def _is_wrong_type(error: Exception) -> bool:
    return isinstance(error, ResponseError) and "WRONGTYPE" in str(error)
