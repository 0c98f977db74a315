"""Authentication: users, passwords and tokens, compared in constant time, with delays after failed attempts."""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kue.config.users_file import UsersFile
from kue.web.access.passwords import Passwords
from kue.web.access.passwords import fingerprint as _digest
from kue.web.access.throttle import Throttle

if TYPE_CHECKING:
    from kue.settings import Settings


class Role(enum.Enum):
    """The roles of visitors."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor with valid credentials, or any visitor if none are required."""

    name: str
    """The name in the audit log: a user, ``token`` or ``read-only token``."""
    role: Role
    by_password: bool = False
    """Whether it is a user with a password, which may change during the session."""

    @property
    def may_write(self) -> bool:
        return self.role is Role.WRITE


#: Any visitor, if no password is required.
ANYBODY = Visitor("anonymous", Role.WRITE)


@dataclass(frozen=True, slots=True)
class _User:
    """A user from the settings: digests of name and password."""

    name: bytes
    password: bytes
    secret: str
    visitor: Visitor


class Accounts:
    """The users and tokens from the settings, and the users from the file. Without any, everyone has full access."""

    def __init__(self, settings: Settings) -> None:
        given = ((settings.auth, Role.WRITE), (settings.auth_readonly, Role.READ))
        tokens = [
            (settings.token, Visitor("token", Role.WRITE)),
            (settings.token_readonly, Visitor("read-only token", Role.READ)),
        ]
        self._users: dict[str, _User] = {}
        for text, role in given:
            if text:
                name, _, password = text.partition(":")
                visitor = Visitor(name, role, by_password=True)
                self._users[name] = _User(_digest(name), _digest(password), password, visitor)
        self._tokens = [(_digest(text), visitor) for text, visitor in tokens if text]
        # A program may send a password from the settings as its token.
        self._passwords_alone = [(user.password, user.visitor) for user in self._users.values()]
        #: Users and groups of single sign-on; the user "*" is everybody else.
        self._by_header = {name: Role(role) for name, role in settings.auth_header_users}
        self._by_group = {name: Role(role) for name, role in settings.auth_header_groups}
        self._file = UsersFile(settings.users_file) if settings.users_file else None
        self._hashes = Passwords()
        self.required = bool(self._tokens or self._users or self._by_header or self._by_group or self._file)
        self._throttle = Throttle()

    def mark_of(self, user: str, key: bytes) -> str:
        """Return the mark stored in a user's sessions, so that a new password ends them. Useless without ``key``."""
        found = self._find_user(user)
        secret = found[1] if found else ""
        return hmac.new(key, secret.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def visitor_of(self, user: object, mark: object, key: bytes) -> Visitor | None:
        """Return the user of a session cookie, None if they were removed or their password has changed since."""
        found = self._find_user(user)
        if found is None or not hmac.compare_digest(str(mark), self.mark_of(found[0].name, key)):
            return None
        return found[0]

    def named_by_proxy(self, user: str, groups: Iterable[str] = ()) -> Visitor | None:
        """Return the user whom a trusted proxy names, None if they have no access.

        An entry for the user takes precedence over their groups, and these over the entry for everyone.
        """
        of_groups = {self._by_group[group] for group in groups if group in self._by_group}
        of_group = Role.WRITE if Role.WRITE in of_groups else Role.READ if of_groups else None
        role = self._by_header.get(user) or of_group or self._by_header.get("*")
        # Two names: a client in front of the proxy has added one.
        is_name = re.fullmatch(r"[^\s,\x00-\x20\x7f]{1,200}", user) is not None and user != "*"
        return Visitor(user, role) if role is not None and is_name else None

    def check(self, user: object, password: object, client: str | None) -> Visitor | None:
        """Return the user of a name and a password, None if they are wrong.

        Raises LoginDelayed after too many failed logins of this user by this client, an address or a known browser,
        regardless of whether they are right.
        """
        found: list[Visitor] = []

        def is_right() -> bool:
            found.extend(filter(None, [self._by_settings(user, password) or self._by_file(user, password)]))
            return bool(found)

        return found[0] if self._throttle.attempt(client, user, is_right) else None

    def check_token(self, token: object, address: str | None) -> Visitor | None:
        """Return the visitor of a bearer token, None if it is wrong.

        Tokens are too long to guess, so a valid one always passes. A password instead, or an invalid token,
        counts as a login without a name; raises LoginDelayed after too many of them.
        """
        if (visitor := _find(self._tokens, token)) is not None:
            return visitor
        right = _find(self._passwords_alone, token)
        return right if self._throttle.attempt(address, None, lambda: right is not None) else None

    def _find_user(self, name: object) -> tuple[Visitor, str] | None:
        """Return a user with a password, and a secret that changes with the password."""
        if not isinstance(name, str):
            return None
        if (user := self._users.get(name)) is not None:
            return user.visitor, user.secret
        of_file = self._file.users().get(name) if self._file is not None else None
        return None if of_file is None else (Visitor(name, Role(of_file.role), by_password=True), of_file.hash)

    def _by_settings(self, name: object, password: object) -> Visitor | None:
        found = None
        for user in self._users.values():
            same_user = hmac.compare_digest(_digest(name), user.name)
            same_password = hmac.compare_digest(_digest(password), user.password)
            if same_user and same_password:
                found = user.visitor
        return found

    def _by_file(self, name: object, password: object) -> Visitor | None:
        """Return a user of the file. Takes the time of one hash in every case, so timing reveals nothing."""
        if self._file is None:
            return None
        users = self._file.users()
        user = users.get(name) if isinstance(name, str) and name not in self._users else None
        if user is None:
            self._hashes.refuse(next((each.hash for each in users.values()), None), password)
        elif self._hashes.is_right(user.hash, password):
            return Visitor(user.name, Role(user.role), by_password=True)
        return None


def _find(known: list[tuple[bytes, Visitor]], text: object) -> Visitor | None:
    found = None
    for digest, visitor in known:
        if hmac.compare_digest(_digest(text), digest) and found is None:
            found = visitor
    return found
