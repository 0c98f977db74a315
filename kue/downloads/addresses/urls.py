"""Parse and check URLs as browsers do, and redact them for display.

The request target is sent byte for byte as given; only what is invalid in a URL (blanks, non-ASCII characters, a lone
percent sign) is percent-encoded, and dot segments are resolved as in the WHATWG URL standard.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple
from urllib.parse import unquote

from ...text.redaction import safe_text
from ..errors import InvalidUrl
from .address_guard import AllowList, literal_address, refusal_text, why_forbidden
from .host_names import ascii_host
from .pasted import are_several, clean_url, guess, percent

#: Longest URL accepted, bytes.
MAX_URL_BYTES = 8 * 1024
SCHEME_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PATH_ESCAPED = re.compile(r"[\x00-\x20\"<>`{}^\x7f-\U0010ffff]|%(?![0-9A-Fa-f]{2})")
_QUERY_ESCAPED = re.compile(r"[\x00-\x20\"<>\x7f-\U0010ffff]|%(?![0-9A-Fa-f]{2})")
#: A host whose last part is a number is an address, or nothing (WHATWG URL, "ends in a number").
_ENDS_IN_NUMBER = re.compile(r"(?i)(^|\.)([0-9]+|0x[0-9a-f]*)\.?$")
_DOT, _DOT_DOT = re.compile(r"(?i)(\.|%2e)$"), re.compile(r"(?i)(\.|%2e){2}$")


class Url(NamedTuple):
    """A parsed URL. ``host`` is ASCII, IPv6 without brackets; ``target`` is what goes on the request line."""

    scheme: str
    host: str
    port: int
    target: str
    credentials: tuple[str, str] | None = None

    @property
    def authority(self) -> str:
        """Host and port, without the default port: the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == SCHEME_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port; a trailing dot of the host does not count."""
        return self.scheme, self.host.rstrip("."), self.port


def check_url(url: object, allow: Sequence[str] | AllowList = ()) -> None:
    """Raise InvalidUrl(code, message) if ``url`` can never be downloaded.

    Host names are not looked up: their addresses are checked when a connection is made.
    """
    split_url(url, allow)


def split_url(url: object, allow: Sequence[str] | AllowList = ()) -> Url:
    """Check ``url`` as ``check_url`` does and return its parts."""
    if not isinstance(url, str):
        raise InvalidUrl("bad_url", "The URL is missing. Give the URL of the file to download")
    if len(url) > 2 * MAX_URL_BYTES:
        raise _too_long()
    if "\0" in url.strip("\0"):
        raise InvalidUrl("bad_url", "The URL contains a NUL character. Remove it")
    if are_several(url):
        raise InvalidUrl("bad_url", "This is more than one URL. Give each one by itself, or as a list of lines")
    return _split(clean_url(url), allow)


def _split(url: str, allow: Sequence[str] | AllowList) -> Url:
    """Check and split a URL with nothing around it."""
    if not url:
        raise InvalidUrl("bad_url", "The URL is missing. Give the URL of the file to download")
    if len(url.encode("utf-8", "surrogatepass")) > MAX_URL_BYTES:
        raise _too_long()
    if any(unicodedata.category(char) == "Cs" for char in url):
        raise InvalidUrl("bad_url", "The URL contains characters that are not Unicode. Remove them")
    scheme, rest = _split_scheme(url)
    authority = re.split(r"[/\\?#]", rest, maxsplit=1)[0]
    user_info, at, host_port = authority.rpartition("@")
    if re.search(r"\s", host_port):
        raise InvalidUrl("bad_url", "The URL has a space in its host")
    host, port = _host_and_port(host_port, scheme)
    address = literal_address(host)
    if address is None and re.search(r"(^|\.)localhost\.?$", host):
        address = IPv4Address("127.0.0.1")  # RFC 6761: these names are never anything else
    if address is not None:
        rules = allow if isinstance(allow, AllowList) else AllowList(allow)
        reason = why_forbidden(address)
        if reason and not rules.allows(host, port, address):
            raise InvalidUrl("forbidden_address", refusal_text(host, address, reason))
    parts = Url(scheme, host, port, _target(rest[len(authority) :]))
    if not at:
        return parts
    user, _, password = user_info.partition(":")
    return parts._replace(credentials=(unquote(user), unquote(password)))


def join_url(base: Url, location: str, allow: AllowList) -> Url:
    """Resolve the ``Location`` of a redirect as browsers do. Raises InvalidUrl."""
    location = re.sub(r"[\t\r\n]", "", location).strip("".join(map(chr, range(33))))
    scheme = _SCHEME.match(location)
    if scheme is not None:
        rest = location[scheme.end() :]
        if scheme[1].lower() != base.scheme or rest.startswith("//"):
            return _split(location, allow)
        location = rest  # a relative URL behind the same scheme
    if re.match(r"[/\\]{2}", location):
        return _split(f"{base.scheme}:{location}", allow)
    location = location.partition("#")[0]
    path, mark, query = base.target.partition("?")
    if not location:
        target = base.target
    elif location.startswith("?"):
        target = path + location
    elif location[0] in "/\\":
        target = location
    else:
        target = path[: path.rfind("/") + 1] + location
    if len(target.encode("utf-8", "surrogatepass")) > MAX_URL_BYTES:
        raise _too_long()
    return base._replace(target=_target(target), credentials=None)


def redact_url(url: str) -> str:
    """Return ``url`` for display: without user, password and fragment, and with ``***`` for signatures and tokens."""
    return safe_text(url.partition("#")[0])


def host_label(parts: Url) -> str:
    """Return the host for display: with its port only if that is not the default."""
    return parts.authority


def _too_long() -> InvalidUrl:
    return InvalidUrl("bad_url", f"The URL is longer than {MAX_URL_BYTES // 1024} KiB")


def _split_scheme(url: str) -> tuple[str, str]:
    """Return the scheme and what follows its ``://``."""
    scheme = _SCHEME.match(url)
    name = scheme[1].lower() if scheme else ""
    if meant := guess(url):
        shown = redact_url(meant.url)
        shown = shown if len(shown) <= 120 else shown[:119] + "…"
        raise InvalidUrl("bad_url", f"{meant.problem} Did you mean {shown}?", meant.url)
    if scheme is None:
        raise InvalidUrl("bad_url", "This is not a URL. It must start with https:// or http://")
    if name not in SCHEME_PORTS:
        raise InvalidUrl("bad_url", f"URLs with {name[:20]}: cannot be downloaded. Use https:// or http://")
    return name, url[scheme.end() :].lstrip("/\\")


def _host_and_port(text: str, scheme: str) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(?::([0-9]*))?", text)
    if match is None:
        raise InvalidUrl("bad_url", "The URL's host or port is invalid")
    port = int(match[2][:8]) if match[2] else SCHEME_PORTS[scheme]
    if not 0 < port < 65536:
        raise InvalidUrl("bad_url", "The URL's port must be between 1 and 65535")
    host = match[1]
    if not host.strip("[]"):
        raise InvalidUrl("bad_url", "The URL has no host")
    if host.startswith("["):
        address = literal_address(host.partition("%")[0])
        if not isinstance(address, IPv6Address):
            raise InvalidUrl("bad_url", f"{host[:80]} is not a valid IPv6 address")
        return str(address), port
    host = unquote(host)
    try:
        ascii_name = ascii_host(host)
    except ValueError:
        raise InvalidUrl("bad_url", f"{''.join(filter(str.isprintable, host))[:80]} is not a valid host name") from None
    address = literal_address(ascii_name)
    if address is None and _ENDS_IN_NUMBER.search(ascii_name):
        raise InvalidUrl("bad_url", f"{ascii_name[:80]} is not a valid IPv4 address")
    return (str(address) if isinstance(address, IPv4Address) else ascii_name), port


def _target(text: str) -> str:
    """Return path and query as they go on the request line."""
    text = text.partition("#")[0]
    path, mark, query = text.partition("?")
    path = _without_dots(path.replace("\\", "/") or "/")
    return _PATH_ESCAPED.sub(_escape, path) + mark + _QUERY_ESCAPED.sub(_escape, query)


def _without_dots(path: str) -> str:
    """Resolve dot segments, also percent-encoded ones."""
    kept: list[str] = []
    segments = path.split("/")[1:] if path.startswith("/") else path.split("/")
    for number, segment in enumerate(segments):
        is_last = number == len(segments) - 1
        if _DOT_DOT.match(segment):
            if kept:
                kept.pop()
        elif not _DOT.match(segment):
            kept.append(segment)
            continue
        if is_last:
            kept.append("")
    return "/" + "/".join(kept)


def _escape(match: re.Match[str]) -> str:
    return percent(match.group())
