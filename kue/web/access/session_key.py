"""The key that signs session cookies: random, stored in Redis, shared by all web processes of a queue."""

from __future__ import annotations

import logging
import secrets
import time

from redis.exceptions import RedisError

from kue.errors import KueError
from kue.queue import Queue

log = logging.getLogger("kue.web")

#: Seconds after which the key is read again, since it may have been deleted to end all sessions.
READ_AGAIN_S = 10.0
#: Seconds after which it is requested again if Redis did not return it.
TRY_AGAIN_S = 1.0


class SessionKey:
    """Read at first use, so that the page starts without Redis, too."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        #: Used until Redis has returned the shared key; cookies signed with it are invalid afterwards.
        self._key = secrets.token_bytes(32)
        self._ask_at = 0.0
        self._refusal = ""

    def get(self) -> bytes:
        """Return the key. If Redis is unreachable, only one request waits for it."""
        if time.monotonic() >= self._ask_at:
            try:
                self._key = self._queue.shared_secret("session")
                self._ask_at = time.monotonic() + READ_AGAIN_S
            except (KueError, RedisError) as exc:
                self._ask_at = time.monotonic() + TRY_AGAIN_S
                if str(exc) != self._refusal:
                    log.warning(
                        "Sessions are not shared with other web processes, because Redis returned no key: %s", exc
                    )
                self._refusal = str(exc)
        return self._key
