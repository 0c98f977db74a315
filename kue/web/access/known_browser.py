"""Browsers in which a user has logged in before: their failed logins are counted separately from those of the address.

So a user's login is not delayed by someone who guesses passwords from the same address, such as behind the same router.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from flask import Request, Response

from kue.web.links import link

COOKIE = "kue_known"
#: Seconds that a browser stays known after its last login.
KEPT_S = 90 * 24 * 3600


def remember(response: Response, user: str, key: bytes, secure: bool) -> None:
    """Mark the browser as one in which ``user`` has logged in. The mark gives no access."""
    browser = secrets.token_hex(16)
    response.set_cookie(
        COOKIE, f"{browser}.{_sign(browser, user, key)}", max_age=KEPT_S, path=link("") or "/", secure=secure,
        httponly=True, samesite="Lax",
    )  # fmt: skip


def client_of(request: Request, user: object, key: bytes) -> str | None:
    """Return what a failed login of ``user`` counts for: a browser known for this user, or an address."""
    browser, _, signature = request.cookies.get(COOKIE, "").partition(".")
    if not signature or not isinstance(user, str):
        return request.remote_addr
    is_known = hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), _sign(browser, user, key).encode())
    return f"browser {browser}" if is_known else request.remote_addr


def _sign(browser: str, user: str, key: bytes) -> str:
    text = f"known browser\0{browser}\0{user}".encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).hexdigest()
