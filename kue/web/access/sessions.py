"""Login sessions: they expire, and a logout ends all copies of the cookie."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import MutableMapping
from typing import Any

from redis.exceptions import RedisError

from kue.errors import KueError
from kue.queue import Queue
from kue.web.access.accounts import Accounts, Visitor
from kue.web.access.session_key import SessionKey

log = logging.getLogger("kue.web")

#: Seconds without queries after Redis failed to answer one, so that requests do not wait one after another.
TRY_AGAIN_S = 1.0


class Sessions:
    """Session cookies, and which sessions have ended."""

    def __init__(self, queue: Queue, accounts: Accounts, key: SessionKey, lifetime_s: float) -> None:
        self._queue, self._accounts, self._key = queue, accounts, key
        self._lifetime_s = lifetime_s
        #: Sessions ended here, also while Redis is unreachable, by the time at which they would have expired.
        self._ended: dict[str, float] = {}
        self._ask_at = 0.0

    def begin(self, cookie: MutableMapping[str, Any], visitor: Visitor) -> None:
        """Fill the cookie of a visitor who has just logged in."""
        cookie.clear()
        cookie["user"] = visitor.name
        cookie["mark"] = self._accounts.mark_of(visitor.name, self._key.get())
        cookie["id"] = secrets.token_urlsafe(16)
        cookie["until"] = int(time.time() + self._lifetime_s)
        cookie["since"] = self._now_ms()

    def visitor_of(self, cookie: MutableMapping[str, Any]) -> Visitor | None:
        """Return the user of a cookie; None if it has expired, or after a logout or a change of the password."""
        session_id, until, since = cookie.get("id"), cookie.get("until"), cookie.get("since")
        if not isinstance(session_id, str) or not isinstance(until, int) or not isinstance(since, int):
            return None
        # The lifetime may have been shortened since the login.
        if time.time() >= min(until, since / 1000 + self._lifetime_s):
            return None
        visitor = self._accounts.visitor_of(cookie.get("user"), cookie.get("mark"), self._key.get())
        return None if visitor is None or self._has_ended(session_id, visitor.name, since) else visitor

    def _has_ended(self, session_id: str, user: str, since_ms: int) -> bool:
        """Return whether a session was ended. Without Redis, only this process's logouts are known."""
        if session_id in self._ended:
            return True
        if time.monotonic() < self._ask_at:
            return False
        try:
            return self._queue.session_has_ended(session_id, user, since_ms)
        except (KueError, RedisError):
            self._ask_at = time.monotonic() + TRY_AGAIN_S
            return False

    def _now_ms(self) -> int:
        """Return the time by the server's clock, which all web processes share; without Redis, by this machine's."""
        try:
            return self._queue.server_ms()
        except (KueError, RedisError):
            return int(time.time() * 1000)

    def end(self, cookie: MutableMapping[str, Any]) -> str | None:
        """End the session of a cookie, for all web processes; return its id, None if there is none."""
        session_id, until = cookie.get("id"), cookie.get("until")
        cookie.clear()
        if not isinstance(session_id, str) or not isinstance(until, int):
            return None
        now = time.time()
        self._ended = {each: at for each, at in self._ended.items() if at > now} | {session_id: until}
        try:
            self._queue.end_session(session_id, until * 1000)
        except (KueError, RedisError) as exc:
            log.warning("The logout is known to this web process only: %s", exc)
        return session_id
