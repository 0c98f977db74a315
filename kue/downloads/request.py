"""What a download job asks for: one validation for the socket, the JSON API, the CLI, the library and the handler."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from .addresses.address_guard import AllowList, literal_address, refusal_text, why_forbidden
from .addresses.pasted import clean_url
from .addresses.urls import split_url
from .errors import InvalidRequest, InvalidUrl
from .http.proxy import parse_proxy

#: Digests that a job may give, and their length in hexadecimal digits.
DIGESTS = {"sha256": 64, "sha1": 40, "md5": 32}
MAX_SEGMENTS = 16
#: Longest text, and all headers or cookies together, characters.
MAX_HEADER, MAX_HEADERS = 8 * 1024, 16 * 1024

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
#: Headers that the downloader itself decides on, and the option to use instead.
_RESERVED = {
    **dict.fromkeys(
        ("accept-encoding", "connection", "content-length", "expect", "host", "if-match", "if-modified-since")
        + ("if-none-match", "if-range", "if-unmodified-since", "keep-alive", "proxy-connection", "range", "te")
        + ("trailer", "transfer-encoding", "upgrade"),
        "",
    ),
    "cookie": "cookies",
    "proxy-authorization": "proxy",
}


class Result(TypedDict, total=False):
    """The result of a finished job."""

    file: str
    "Name of the file in the download folder."
    bytes: int
    "Its size."
    sha256: str
    md5: str
    sha1: str
    "Digests, hexadecimal; md5 and sha1 only if the job gave them."
    url: str
    "The final URL, without credentials."
    host: str
    "Name of the machine with the file: each machine may have its own folder."
    content_type: str | None
    "As sent by the server."
    content_encoding: str | None
    "Set if the bytes are stored as the server encoded them."
    seconds: float
    "Duration of the last attempt."
    rate: int
    "Bytes per second of the last attempt."
    redirects: int
    "Number of redirects."
    resumed_from: int
    "Bytes that earlier attempts had received."
    verified: list[str]
    "Response headers whose digest the file has, such as `Repr-Digest: sha256`; only if there were any."


@dataclass(frozen=True)
class DownloadRequest:
    """A validated request.

    ``segments``: number of connections, or None to choose. ``keep_partial``: whether to keep the partial file if the
    job is cancelled; None: the handler's default. ``headers``, ``cookies`` (``a=b; c=d``), ``referer`` and
    ``user_agent`` are sent to the server; ``proxy`` is the URL of a proxy.
    """

    job_id: Any
    url: str
    filename: str | None = None
    digests: dict[str, str] = field(default_factory=dict)
    segments: int | None = None
    keep_partial: bool | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cookies: str | None = None
    referer: str | None = None
    user_agent: str | None = None
    proxy: str | None = None

    @classmethod
    def parse(cls, data: object, job_id: object = None, allow: Sequence[str] | AllowList = ()) -> DownloadRequest:
        """Validate a job's data; members with other names are ignored. Numbers and flags may be strings, as in forms.

        Raises InvalidRequest (InvalidUrl for the URL) with a ``code`` and a sentence.
        """
        if not isinstance(data, Mapping):
            raise InvalidRequest("bad_request", 'A download needs an object with a "url"')
        allow = allow if isinstance(allow, AllowList) else AllowList(allow)
        split_url(data.get("url"), allow)
        return cls(
            job_id,
            clean_url(data["url"]),
            _filename(data),
            _digests(data),
            _segments(data),
            _flag(data, "keep_partial"),
            _headers(data),
            _cookies(data),
            _header_value(data, "referer"),
            _header_value(data, "user_agent"),
            _proxy(data, allow),
        )

    def to_data(self) -> dict[str, Any]:
        """Return the members that a job's data needs; ``parse`` reads them back."""
        found: dict[str, Any] = {"url": self.url, **self.digests}
        for name in ("filename", "segments", "keep_partial", "headers", "cookies", "referer", "user_agent", "proxy"):
            value = getattr(self, name)
            if value is not None and value != {}:
                found[name] = value
        return found


def _given(data: Mapping[str, Any], name: str) -> Any:
    """Return a member, or None if it is missing or an empty form field."""
    value = data.get(name)
    return None if value == "" else value


def _bad(message: str) -> InvalidRequest:
    return InvalidRequest("bad_option", message)


def _text(data: Mapping[str, Any], name: str, limit: int) -> str | None:
    value = _given(data, name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _bad(f"{name} must be a string")
    if len(value) > limit:
        raise _bad(f"{name} must have at most {limit:,} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in value):
        raise _bad(f"{name} contains control characters")
    return value


def _filename(data: Mapping[str, Any]) -> str | None:
    """Return a file name; what may not be in one is removed when the file is named."""
    value = _given(data, "filename")
    if value is None:
        return None
    if not isinstance(value, str):
        raise _bad("filename must be a string")
    if len(value) > MAX_HEADER:
        raise _bad(f"filename must have at most {MAX_HEADER:,} characters")
    return "".join(char for char in value if unicodedata.category(char) not in ("Cc", "Cs")) or None


def _digests(data: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for algorithm, length in DIGESTS.items():
        wanted = _given(data, algorithm)
        if wanted is None:
            continue
        if not isinstance(wanted, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", wanted.strip()):
            raise _bad(f"{algorithm} must be {length} hexadecimal digits")
        found[algorithm] = wanted.strip().lower()
    return found


def _segments(data: Mapping[str, Any]) -> int | None:
    value = _given(data, "segments")
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}", value):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (type(value) is int and 1 <= value <= MAX_SEGMENTS):
        return value
    raise _bad(f"segments must be a whole number between 1 and {MAX_SEGMENTS}")


def _flag(data: Mapping[str, Any], name: str) -> bool | None:
    value = _given(data, name)
    if value is None or value is True or value is False:
        return value
    if isinstance(value, (str, int)) and (text := str(value)) in ("true", "on", "1", "false", "off", "0"):
        return text in ("true", "on", "1")
    raise _bad(f"{name} must be true or false")


def _header_text(name: str, value: object) -> str:
    """Return a value as it goes on the wire: UTF-8, one character for each byte."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _bad(f"the value of {name} must be a string")
    text = str(value).strip()
    if len(text) > MAX_HEADER:
        raise _bad(f"the value of {name} must have at most {MAX_HEADER:,} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs") and char != "\t" for char in text):
        raise _bad(f"the value of {name} contains line breaks or control characters")
    return text


def _header_value(data: Mapping[str, Any], name: str) -> str | None:
    value = _given(data, name)
    return None if value is None else _header_text(name, value) or None


def _pairs(value: object, name: str, separator: str) -> list[tuple[Any, Any]]:
    """Return the pairs of an object, of a list of ``Name: value`` strings, or of such lines."""
    if isinstance(value, Mapping):
        return list(value.items())
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, (list, tuple)) or not all(isinstance(line, str) for line in lines):
        raise _bad(f"{name} must be an object or a list of 'name{separator} value' strings")
    pairs = [line.partition(separator) for line in lines if line.strip()]
    if not all(found for _, found, _ in pairs):
        raise _bad(f"each line of {name} must look like 'name{separator} value'")
    return [(key.strip(), text.strip()) for key, _, text in pairs]


def _headers(data: Mapping[str, Any]) -> dict[str, str]:
    value = _given(data, "headers")
    if value is None:
        return {}
    found: dict[str, str] = {}
    for key, text in _pairs(value, "headers", ":"):
        if not isinstance(key, str) or not _TOKEN.fullmatch(key):
            raise _bad(f"{str(key)[:40]!r} is not a valid header name")
        if key.lower() in _RESERVED:
            instead = _RESERVED[key.lower()]
            hint = f"; use the option {instead}" if instead else ""
            raise _bad(f"the header {key} is set by the downloader{hint}")
        found[key] = _header_text(key, text)
    if sum(len(key) + len(text) for key, text in found.items()) > MAX_HEADERS:
        raise _bad(f"headers must have at most {MAX_HEADERS:,} characters in total")
    return found


def _cookies(data: Mapping[str, Any]) -> str | None:
    value = _given(data, "cookies")
    if isinstance(value, str):
        value = [pair for pair in re.split(r"[;\n]", re.sub(r"(?i)^\s*cookie:", "", value)) if pair.strip()]
    if value is None:
        return None
    pairs = []
    for key, text in _pairs(value, "cookies", "="):
        if not isinstance(key, str) or not re.fullmatch(r"[^\s;=,\x00-\x1f\x7f]{1,200}", key) or ";" in str(text):
            raise _bad(f"{str(key)[:40]!r} is not a valid cookie")
        pairs.append(f"{key}={_header_text(key, text)}")
    joined = "; ".join(pairs)
    if len(joined) > MAX_HEADERS:
        raise _bad(f"cookies must have at most {MAX_HEADERS:,} characters in total")
    return joined or None


def _proxy(data: Mapping[str, Any], allow: AllowList) -> str | None:
    value = _text(data, "proxy", MAX_HEADER)
    if value is None:
        return None
    try:
        proxy = parse_proxy(value)
    except ValueError as exc:
        raise _bad(str(exc)) from None
    address = literal_address(proxy.host)
    reason = why_forbidden(address) if address is not None else None
    if address is not None and reason and not allow.allows(proxy.host, proxy.port, address):
        raise InvalidUrl("forbidden_address", refusal_text(proxy.host, address, reason))
    return value.strip()
