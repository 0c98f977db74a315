"""URLs: what may be asked for, and what may be shown of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import unquote

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from ...redaction import safe_text
from ..errors import InvalidUrl
from .address_guard import AllowList, literal_address, why_forbidden

#: Longest URL taken, bytes.
MAX_URL_BYTES = 8 * 1024
SCHEME_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def check_url(url: object, allow: Sequence[str] | AllowList = ()) -> None:
    """Raise InvalidUrl(code, message) if ``url`` can be seen to be unusable without asking anybody.

    Host names are not looked up: where they lead is checked at the moment of the connection.
    """
    split_url(url, allow)


def split_url(url: object, allow: Sequence[str] | AllowList = ()) -> Url:
    """Check ``url`` as ``check_url`` does and return its parts, as the HTTP library will see them."""
    if not isinstance(url, str) or not url.strip():
        raise InvalidUrl("bad_url", "Give the URL of the file to download")
    url = url.strip(" ")
    if len(url) > MAX_URL_BYTES or len(url.encode("utf-8", "surrogatepass")) > MAX_URL_BYTES:
        raise InvalidUrl("bad_url", f"The URL is longer than {MAX_URL_BYTES // 1024} KiB")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in url):
        raise InvalidUrl("bad_url", "The URL contains control characters")
    scheme = _SCHEME.match(url)
    if scheme is None or scheme[1].lower() not in SCHEME_PORTS:
        raise InvalidUrl("bad_url", "Only http:// and https:// URLs can be downloaded")
    if not url[scheme.end() :].startswith("//"):
        raise InvalidUrl("bad_url", f"The URL must begin with {scheme[1].lower()}://")
    authority = re.split(r"[/?#]", url[scheme.end() + 2 :], maxsplit=1)[0]
    if re.search(r"[\s\\]", authority):
        raise InvalidUrl("bad_url", "The URL has a space or a backslash in its host")
    try:
        parts = parse_url(url)
    except (LocationParseError, ValueError):
        raise InvalidUrl("bad_url", "The URL cannot be read: check its host and port") from None
    if not parts.host or parts.host.startswith((".", "*")):
        raise InvalidUrl("bad_url", "The URL names no host")
    if parts.port == 0:
        raise InvalidUrl("bad_url", "The URL's port must be between 1 and 65535")
    host = parts.host.strip("[]")
    address = literal_address(host)
    if address is not None:
        reason = why_forbidden(address)
        allow_list = allow if isinstance(allow, AllowList) else AllowList(allow)
        if reason and not allow_list.admits(host, port_of(parts), address):
            raise InvalidUrl("forbidden_address", f"{host} may not be connected to: {reason}")
    return parts


def port_of(parts: Url) -> int:
    """Return the port that ``parts`` leads to."""
    return parts.port or SCHEME_PORTS[(parts.scheme or "http").lower()]


def origin_of(parts: Url) -> tuple[str, str, int]:
    """Return scheme, host and port: those that must all be equal for credentials to be sent."""
    return (parts.scheme or "").lower(), (parts.host or "").lower().rstrip("."), port_of(parts)


def credentials_of(parts: Url) -> tuple[str, str] | None:
    """Return user and password of the URL, decoded, or None."""
    if not parts.auth:
        return None
    user, _, password = parts.auth.partition(":")
    return unquote(user), unquote(password)


def without_credentials(parts: Url) -> str:
    """Return the URL to send: no user, no password, no fragment."""
    return str(parts._replace(auth=None, fragment=None).url)


def redact_url(url: str) -> str:
    """Return ``url`` as it may be shown: no user, password or fragment, and ``***`` for signatures and tokens."""
    return safe_text(url.partition("#")[0])


def host_label(parts: Url) -> str:
    """Return the host for people: with its port only if that is not the scheme's own."""
    host = parts.host or ""
    return f"{host}:{parts.port}" if parts.port and parts.port != SCHEME_PORTS.get(parts.scheme or "") else host
