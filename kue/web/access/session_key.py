"""The key that signs session cookies: random, kept in Redis, the same in all web processes of a queue."""

from __future__ import annotations

import secrets

from kue.errors import KueError
from kue.queue import Queue


class SessionKey:
    """Read when it is first needed, so that the page comes up without a Redis, too."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._key: bytes | None = None
        #: Signs while Redis cannot be asked: such a cookie is good for nothing afterwards.
        self._passing = secrets.token_bytes(32)

    def get(self) -> bytes:
        if self._key is None:
            try:
                self._key = self._queue.shared_secret("session")
            except KueError:
                return self._passing
        return self._key
