"""Authentication: users, passwords and tokens, compared in constant time, with delays after failed attempts."""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kue.web.access.throttle import Throttle

if TYPE_CHECKING:
    from kue.settings import Settings


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
        self._passwords_alone: list[tuple[bytes, Visitor]] = []
        for text, role in users:
            user, _, password = text.partition(":")
            visitor = Visitor(user, role)
            self._users.append((_digest(user), _digest(password), visitor))
            self._passwords_alone.append((_digest(password), visitor))  # a program may send a password as its token
        #: Users of single sign-on; "*" is everybody else.
        self._by_header = {name: Role(role) for name, role in settings.auth_header_users}
        self.required = bool(self._tokens or self._users or self._by_header)
        self._throttle = Throttle()
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

    def named_by_proxy(self, user: str) -> Visitor | None:
        """Return the user whom a trusted proxy names, None if they have no access."""
        role = self._by_header.get(user, self._by_header.get("*"))
        # Two names mean that somebody before the proxy has added one.
        is_name = re.fullmatch(r"[^\s,\x00-\x20\x7f]{1,200}", user) is not None and user != "*"
        return Visitor(user, role) if role is not None and is_name else None

    def check(self, user: object, password: object, client: str | None) -> Visitor | None:
        """Return the user of a name and a password, None if they are wrong.

        Raises LoginDelayed after too many failed logins of this user by this client, an address or a known browser,
        whether they are wrong or not.
        """
        right = None
        for known_user, known_password, visitor in self._users:
            same_user = hmac.compare_digest(_digest(user), known_user)
            same_password = hmac.compare_digest(_digest(password), known_password)
            if same_user and same_password:
                right = visitor
        return right if self._throttle.attempt(client, user, lambda: right is not None) else None

    def check_token(self, token: object, address: str | None) -> Visitor | None:
        """Return the visitor of a bearer token, None if it is wrong.

        A token is too long to be guessed, so a right one always passes. A password in its place, and a wrong token,
        count as a login without a name; raises LoginDelayed after too many of them.
        """
        if (visitor := _find(self._tokens, token)) is not None:
            return visitor
        right = _find(self._passwords_alone, token)
        return right if self._throttle.attempt(address, None, lambda: right is not None) else None


def _find(known: list[tuple[bytes, Visitor]], text: object) -> Visitor | None:
    found = None
    for digest, visitor in known:
        if hmac.compare_digest(_digest(text), digest) and found is None:
            found = visitor
    return found
