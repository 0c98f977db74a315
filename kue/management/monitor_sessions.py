"""Login sessions of the monitor, as all web processes know them: which have ended, and the secret that signs them."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Any

from ..storage.arguments import check_count, check_string
from ..storage.codec import number
from ..storage.session import Session

#: Longest lifetime of a monitor session, seconds; ended sessions are remembered for as long.
SESSION_MAX_S = 366 * 24 * 3600


class MonitorSessions:
    """What web processes share about login sessions."""

    def __init__(self, session: Session) -> None:
        self._session, self._keys = session, session.keys

    def shared_secret(self, name: str) -> bytes:
        """Return 32 random bytes shared by all processes of this queue under a name; created at first use.

        Raises QueueUnavailable at once if Redis cannot be reached.
        """
        key = self._keys.secret(check_string("name", name, "session"))

        def call(client: Any) -> Any:
            text = client.get(key)  # first: a replica or a full server can still answer that
            if text is None:
                client.set(key, secrets.token_hex(32), nx=True)
                text = client.get(key)
            return text

        text = self._session.call(call, 0)
        return hashlib.sha256(str(text).encode()).digest()

    def end_session(self, session_id: str, until_ms: int) -> None:
        """Record for all web processes that a session has ended; it would have expired at ``until_ms``, epoch ms.

        Raises QueueUnavailable at once if Redis cannot be reached.
        """
        check_string("session_id", session_id, "5f0c…")
        check_count("until_ms", until_ms)
        key = self._keys.ended_sessions

        def call(client: Any) -> None:
            client.zremrangebyscore(key, "-inf", f"({time.time() * 1000:.0f}")
            client.zadd(key, {session_id: until_ms})

        self._session.call(call, 0)

    def end_sessions_of(self, user: str | None = None) -> None:
        """End all current monitor sessions of a user (None: of all users), in all web processes."""
        key = self._keys.revoked_sessions
        if user is not None:
            check_string("user", user, "anna")

        def call(client: Any) -> None:
            seconds, micros = client.time()
            pipe = client.pipeline(transaction=True)
            pipe.hset(key, "*" if user is None else user, seconds * 1000 + micros // 1000)
            pipe.expire(key, SESSION_MAX_S)
            pipe.execute()

        self._session.call(call)

    def session_has_ended(self, session_id: str, user: str = "", since_ms: int | None = None) -> bool:
        """Return whether a session was ended, or all of its user's sessions started by ``since_ms``.

        Raises QueueUnavailable at once if Redis cannot be reached.
        """

        check_string("session_id", session_id, "5f0c…")
        check_string("user", user, "anna")

        def call(client: Any) -> bool:
            pipe = client.pipeline(transaction=False)
            pipe.zscore(self._keys.ended_sessions, session_id)
            pipe.hmget(self._keys.revoked_sessions, user, "*")
            ended, revoked = pipe.execute()
            return ended is not None or (since_ms is not None and since_ms <= max(number(at) or 0 for at in revoked))

        return bool(self._session.call(call, 0))
