"""The user and password of `KUE_AUTH`: checked in constant time, and not as often as somebody likes."""

from __future__ import annotations

import enum
import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict

#: Wrong passwords from one address within WINDOW_S, after which it is not listened to until the window is over.
MAX_WRONG = 10
#: Wrong passwords from everywhere within WINDOW_S, after which only those who are logged in get on.
MAX_WRONG_ALL = 200
WINDOW_S = 60.0
#: Addresses remembered at a time.
MAX_ADDRESSES = 10_000


class Role(enum.Enum):
    """What somebody may do."""

    READ = "read"
    WRITE = "write"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Accounts:
    """Who may log in. Without ``auth`` ("user:password") everybody may do everything."""

    def __init__(self, auth: str | None) -> None:
        self.required = auth is not None
        self.user, _, password = (auth or "").partition(":")
        self._user, self._password = _digest(self.user), _digest(password)
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()
        #: Signs the session cookie. Made from the password, slowly: web processes share logins, a restart keeps
        #: them, and a new password ends them.
        self.secret = (
            hashlib.pbkdf2_hmac("sha256", auth.encode(), b"kue session", 200_000) if auth else secrets.token_bytes(32)
        )

    def role_of(self, user: object) -> Role | None:
        """Return the role of a user whose session cookie says that he logged in."""
        return Role.WRITE if user == self.user else None

    def check(self, user: object, password: object, address: str | None) -> Role | None:
        """Return the role of somebody who gives a user and a password, None if wrong or after too many tries."""
        right_user = hmac.compare_digest(_digest(user if isinstance(user, str) else ""), self._user)
        right_password = hmac.compare_digest(_digest(password if isinstance(password, str) else ""), self._password)
        return self._judge(right_user and right_password, address)

    def check_token(self, token: object, address: str | None) -> Role | None:
        """Return the role of a program that gives the password alone, as its bearer token."""
        right = hmac.compare_digest(_digest(token if isinstance(token, str) else ""), self._password)
        return self._judge(right, address)

    def is_blocked(self, address: str | None) -> bool:
        """Tell whether an address gave too many wrong passwords lately."""
        with self._lock:
            return self._over(address or "", MAX_WRONG) or self._over("", MAX_WRONG_ALL)

    def _judge(self, right: bool, address: str | None) -> Role | None:
        if self.is_blocked(address):
            return None
        if right:
            return Role.WRITE
        with self._lock:
            for name in {address or "", ""}:
                since, count = self._wrong.pop(name, (time.monotonic(), 0))
                if time.monotonic() - since > WINDOW_S:
                    since, count = time.monotonic(), 0
                self._wrong[name] = since, count + 1
            while len(self._wrong) > MAX_ADDRESSES:
                self._wrong.popitem(last=False)
        return None

    def _over(self, name: str, limit: int) -> bool:
        since, count = self._wrong.get(name, (0.0, 0))
        return count >= limit and time.monotonic() - since <= WINDOW_S
