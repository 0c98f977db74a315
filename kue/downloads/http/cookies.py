"""Cookies of one download: those the job gives, and those that servers set on the way."""

from __future__ import annotations

import re
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast
from urllib.request import Request

from ..addresses.urls import Url

#: Most cookies of one download, as browsers allow for one domain; the oldest give way. Longest one, bytes.
MAX_COOKIES, MAX_COOKIE = 180, 8 * 1024


class Cookies:
    """A cookie jar, never shared between downloads. ``given`` is sent to the server of the job's own URL only."""

    def __init__(self, given: str = "") -> None:
        self._given = given
        # A cookie without a domain goes back to its host only, not to the hosts below it.
        policy = DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)
        self._jar = CookieJar(policy)

    def keep(self, url: Url, values: list[str]) -> None:
        """Store the ``Set-Cookie`` values of a response."""
        if not values:
            return
        # A header arrives as Latin-1; what goes out is UTF-8, and other bytes as they came.
        kept = [value for value in values if len(value) <= MAX_COOKIE][-MAX_COOKIES:]
        tidied = [_tidied(value).encode("latin-1").decode("utf-8", "surrogateescape") for value in kept]
        self._jar.extract_cookies(cast("object", _Headers(tidied)), Request(str(url)))  # type: ignore[arg-type]
        for cookie in list(self._jar)[:-MAX_COOKIES]:
            self._jar.clear(cookie.domain, cookie.path, cookie.name)

    def header(self, url: Url, is_own_server: bool) -> str | None:
        """Return the ``Cookie`` header for a URL, or None."""
        request = Request(str(url))
        self._jar.add_cookie_header(request)
        found = [pair for pair in (request.get_header("Cookie") or "").split("; ") if pair]
        if is_own_server and self._given:
            names = {pair.partition("=")[0] for pair in found}
            found = [pair for pair in self._given.split("; ") if pair.partition("=")[0] not in names] + found
        return "; ".join(found) or None


def _tidied(value: str) -> str:
    """Return a ``Set-Cookie`` value with the attributes that the jar understands, each in its proper form.

    The jar drops a cookie for a malformed or unknown attribute, where browsers ignore the attribute (RFC 6265, 5.2).
    """
    pair, *attributes = value.split(";")
    found = [pair]
    for attribute in attributes:
        name, _, text = attribute.partition("=")
        name, text = name.strip().lower(), text.strip()
        if name == "max-age" and (match := re.fullmatch(r'"?\+?(-?[0-9]{1,12})[^"]*"?', text)):
            found.append(f"max-age={match[1]}")
        elif name == "secure":
            found.append(name)
        elif (name == "path" and text.startswith("/")) or (name in ("domain", "expires") and text):
            found.append(f"{name}={text}")
    return "; ".join(found)


class _Headers:
    """What the jar wants of a response: an object whose ``info()`` has the headers."""

    def __init__(self, values: list[str]) -> None:
        self._values = values

    def info(self) -> _Headers:
        return self

    def get_all(self, name: str, default: list[str]) -> list[str]:
        return self._values if name == "Set-Cookie" else default
