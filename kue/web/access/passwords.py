"""Compares passwords with their hashes, a few at a time, in threads: by design, each takes 0.1 s and 32 MB."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
from collections import OrderedDict

from werkzeug.security import check_password_hash

from kue.concurrency import real_threads

log = logging.getLogger("kue.web")

#: Maximum number of hashes at a time, so that a flood of logins uses neither all memory nor all cores.
AT_ONCE = 2
#: Number of verified passwords cached, since a program may send one with each request.
REMEMBERED_MAX = 1000
#: The hash to compare with if there are no users at all.
_METHOD = "scrypt:32768:8:1"


class Passwords:
    """Compares passwords with hashes."""

    def __init__(self) -> None:
        self._turns = threading.Semaphore(AT_ONCE)
        self._key = secrets.token_bytes(32)
        #: Keyed digests of a hash and its password.
        self._right: OrderedDict[bytes, None] = OrderedDict()

    def is_right(self, stored: str, password: object) -> bool:
        """Return whether a password matches a hash."""
        text = password if isinstance(password, str) else ""
        mark = hmac.digest(self._key, f"{stored}\0{text}".encode("utf-8", "surrogatepass"), "sha256")
        if mark in self._right:
            return True
        if not self._check(stored, text):
            return False
        self._right[mark] = None
        while len(self._right) > REMEMBERED_MAX:
            self._right.popitem(last=False)
        return True

    def refuse(self, like: str | None, password: object) -> bool:
        """Take as long as for a wrong password, so that timing does not reveal which users exist; return False.

        ``like``: the hash of some user, None if there is none.
        """
        method = like.partition("$")[0] if like else _METHOD
        return self._check(f"{method}${'0' * 16}${'0' * 128}", password if isinstance(password, str) else "") and False

    def _check(self, stored: str, password: str) -> bool:
        # Invalid UTF-8 cannot be a password; it takes the same time anyway.
        text = password.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        with self._turns:
            try:
                return real_threads.run(check_password_hash, stored, text) and text == password
            except (ValueError, MemoryError) as exc:  # invalid parameters
                log.error("A password cannot be compared with its hash: %s", exc)
                return False


def fingerprint(text: object) -> bytes:
    """Return a digest of a secret, of the same length for all."""
    return hashlib.sha256((text if isinstance(text, str) else "").encode("utf-8", "surrogatepass")).digest()
