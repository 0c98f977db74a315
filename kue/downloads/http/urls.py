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

#: Longest URL accepted, bytes.
MAX_URL_BYTES = 8 * 1024
SCHEME_PORTS = {"http": 80, "https": 443}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BARE_HOST = re.compile(r"(?i)(//)?([\w-]+(\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?([/?#]|$)")
#: Quotes and brackets that people paste around a URL.
_OPENING, _CLOSING = "<\"'“”‘’«»„`‹›「『《", ">\"”“»«›‹」』》"
_PAIRS = {"'": "'", "‘": "’", "`": "`", "(": ")", "[": "]", "{": "}"}
#: What belongs to the text a URL was copied from: list bullets, Markdown links, mistyped schemes.
_BULLET = re.compile(r"(?:[-*+•·–]|\d{1,3}[.)])\s+(?=https?:)", re.IGNORECASE)
_MARKDOWN = re.compile(r"!?\[[^\]]*\](?:\(\s*(\S+?)(?:\s+[\"'(].*)?\)|:\s+(\S+)(?:\s.*)?)", re.DOTALL)
_MISTYPED = re.compile(r"(?i)(?:(?:https?|htps?)(?:;|:;|)|(?:hxxps?|htps?|htt|hhttps?|httpss):)//+(?=[\w\[])")
_SEVERAL = re.compile(r"(?i)[\r\n]\s*(?:https?|ftp)://")
_PATH_ESCAPED = re.compile(r"[\x00-\x20\"<>`{}^\x7f-\U0010ffff]|%(?![0-9A-Fa-f]{2})")
_QUERY_ESCAPED = re.compile(r"[\x00-\x20\"<>\x7f-\U0010ffff]|%(?![0-9A-Fa-f]{2})")
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


def clean_url(text: str) -> str:
    """Return a pasted URL without what surrounds it, and without line breaks and tabs, as browsers do.

    White space, invisible characters, quotes, brackets and Markdown around it are removed; control characters inside
    are percent-encoded.
    """
    text = re.sub(r"[\t\r\n]", "", _unwrapped(text))
    return "".join(_percent(char) if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)


def _unwrapped(text: str) -> str:
    before = None
    while text != before:
        before = text
        text = text.strip()
        while text and _is_invisible(text[0]):
            text = text[1:]
        while text and _is_invisible(text[-1]):
            text = text[:-1]
        if len(text) > 1 and _PAIRS.get(text[0]) == text[-1]:
            text = text[1:-1]
        if text.startswith("(") or text[:1] in _OPENING:
            text = text[1:]
        if text[-1:] and text[-1] in _CLOSING and not _is_balanced(text):
            text = text[:-1]
        if found := _MARKDOWN.fullmatch(text):
            text = found[1] or found[2]
        text = _BULLET.sub("", text, count=1) if _BULLET.match(text) else text
        if text[:4].upper() == "URL:" and _SCHEME.match(text[4:].lstrip()):
            text = text[4:]
    return text


def _is_balanced(text: str) -> bool:
    """Return whether the bracket or quote at the end belongs to one inside the URL."""
    last = text[-1]
    if last == '"':
        return text.count(last) % 2 == 0
    return last in ">」』》" and "<「『《"[">」』》".index(last)] in text


def split_url(url: object, allow: Sequence[str] | AllowList = ()) -> Url:
    """Check ``url`` as ``check_url`` does and return its parts."""
    if not isinstance(url, str):
        raise InvalidUrl("bad_url", "The URL is missing. Give the URL of the file to download")
    if len(url) > 2 * MAX_URL_BYTES:
        raise _too_long()
    if "\0" in url.strip("\0"):
        raise InvalidUrl("bad_url", "The URL contains a NUL character. Remove it")
    if _SEVERAL.search(url.strip()):
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
    if re.search(r"\s", authority):
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


def _is_invisible(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) in ("Cf", "Cc", "Zs", "Zl", "Zp")


def _too_long() -> InvalidUrl:
    return InvalidUrl("bad_url", f"The URL is longer than {MAX_URL_BYTES // 1024} KiB")


def _split_scheme(url: str) -> tuple[str, str]:
    """Return the scheme and what follows its ``://``."""
    scheme = _SCHEME.match(url)
    name = scheme[1].lower() if scheme else ""
    if scheme is not None and name in SCHEME_PORTS:
        rest = url[scheme.end() :].lstrip("/\\")
        if (twice := _SCHEME.match(rest)) and twice[1].lower() in SCHEME_PORTS and rest[twice.end() :].startswith("//"):
            raise InvalidUrl("bad_url", f"The URL has its scheme twice. {_did_you_mean(rest)}", rest)
        return name, rest
    if mistyped := _MISTYPED.match(url):
        name = "https" if mistyped[0].lower().startswith(("https", "hxxps", "htps")) else "http"
        proposal = f"{name}://{url[mistyped.end() :]}"
        raise InvalidUrl("bad_url", f"The URL must start with {name}://. {_did_you_mean(proposal)}", proposal)
    if _BARE_HOST.match(url) and (scheme is None or re.match(r"[0-9]{1,5}([/?#]|$)", url[scheme.end() :])):
        proposal = f"https://{url.removeprefix('//')}"
        raise InvalidUrl("bad_url", f"The URL has no scheme. {_did_you_mean(proposal)}", proposal)
    if scheme is None:
        raise InvalidUrl("bad_url", "This is not a URL. It must start with https:// or http://")
    raise InvalidUrl("bad_url", f"URLs with {name[:20]}: cannot be downloaded. Use https:// or http://")


def _did_you_mean(proposal: str) -> str:
    shown = redact_url(proposal)
    return f"Did you mean {shown if len(shown) <= 120 else shown[:119] + '…'}?"


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
    return _percent(match.group())


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))
