"""Authentication: users, passwords and tokens, compared in constant time, with a limit on failed attempts."""

from __future__ import annotations

import enum
import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kue.settings import Settings

#: Failed logins from one address within WINDOW_S, after which it is blocked until the window is over.
MAX_WRONG = 10
#: Failed logins from all addresses within WINDOW_S, after which only existing sessions are accepted.
MAX_WRONG_ALL = 200
WINDOW_S = 60.0
#: Addresses remembered at a time.
MAX_ADDRESSES = 10_000


class Role(enum.Enum):
    """What a visitor may do."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with valid credentials, or anybody where none are required."""

    name: str
    """The name in the audit log: a user, ``token`` or ``read-only token``."""
    role: Role

    @property
    def may_write(self) -> bool:
        return self.role is Role.WRITE


#: Everybody, where no password is required.
ANYBODY = Visitor("anonymous", Role.WRITE)


def _digest(text: object) -> bytes:
    return hashlib.sha256((text if isinstance(text, str) else "").encode("utf-8", "surrogatepass")).digest()


class Accounts:
    """The users and tokens of the settings. Without any, everybody may do everything."""

    def __init__(self, settings: Settings) -> None:
        given = ((settings.auth, Role.WRITE), (settings.auth_readonly, Role.READ))
        users = [(text, role) for text, role in given if text]
        tokens = [
            (settings.token, Visitor("token", Role.WRITE)),
            (settings.token_readonly, Visitor("read-only token", Role.READ)),
        ]
        self._users: list[tuple[bytes, bytes, Visitor]] = []
        self._tokens = [(_digest(text), visitor) for text, visitor in tokens if text]
        for text, role in users:
            user, _, password = text.partition(":")
            visitor = Visitor(user, role)
            self._users.append((_digest(user), _digest(password), visitor))
            self._tokens.append((_digest(password), visitor))  # a program may send a password alone
        self.required = bool(self._tokens)
        self._wrong: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._passwords = {user: text for text, _ in users for user in [text.partition(":")[0]]}

    def mark_of(self, user: str, key: bytes) -> str:
        """Return the mark that a user's session holds, so that a new password ends it. Useless without ``key``."""
        return hmac.new(key, self._passwords.get(user, "").encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def visitor_of(self, user: object, mark: object, key: bytes) -> Visitor | None:
        """Return the user of a session cookie, None if the password has changed since the login."""
        for _, _, visitor in self._users:
            if visitor.name == user and hmac.compare_digest(str(mark), self.mark_of(visitor.name, key)):
                return visitor
        return None

    def check(self, user: object, password: object, address: str | None) -> Visitor | None:
        """Return the user of a name and a password; None if they are wrong, or after too many failed logins."""
        right = None
        for known_user, known_password, visitor in self._users:
            same_user = hmac.compare_digest(_digest(user), known_user)
            same_password = hmac.compare_digest(_digest(password), known_password)
            if same_user and same_password:
                right = visitor
        return self._judge(right, address)

    def check_token(self, token: object, address: str | None) -> Visitor | None:
        """Return the visitor of a bearer token; None if it is wrong, or after too many failed logins."""
        right = None
        for known, visitor in self._tokens:
            if hmac.compare_digest(_digest(token), known) and right is None:
                right = visitor
        return self._judge(right, address)

    def is_blocked(self, address: str | None) -> bool:
        """Tell whether an address is blocked after too many failed logins."""
        with self._lock:
            return self._over(address or "?", MAX_WRONG) or self._over("", MAX_WRONG_ALL)

    def _judge(self, found: Visitor | None, address: str | None) -> Visitor | None:
        # A blocked address learns nothing, not even that its last guess was right.
        if self.is_blocked(address):
            return None
        if found is not None:
            return found
        with self._lock:
            for name in (address or "?", ""):
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
