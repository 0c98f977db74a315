"""Read the status line and headers of a response as leniently as browsers do."""

from __future__ import annotations

import io
import re
from typing import Any, NamedTuple

from ..errors import DownloadError, DownloadFailed

#: Headers that a download uses; others are read and dropped.
_KEPT = frozenset(
    "accept-ranges content-disposition content-encoding content-digest content-length content-md5 content-range "
    "content-type date digest etag last-modified location ratelimit ratelimit-remaining ratelimit-reset repr-digest "
    "retry-after server set-cookie transfer-encoding x-rate-limit-remaining x-rate-limit-reset x-ratelimit-remaining "
    "x-ratelimit-reset".split()
)
#: Headers whose value is used up to a character that may not be in it.
_CUT = frozenset({"location", "set-cookie"})
#: If a malformed line may have been meant as one of these, the end of the body is uncertain.
_FRAMING = re.compile(r"content(?:length|range)|transferencoding")
#: Whatever the number of the version, what follows is HTTP/1. ICY is Shoutcast's name of it.
_STATUS = re.compile(
    rb"[ \t]{0,4}(?:HTTP(?:/[0-9]{1,3}(?:\.[0-9]{1,3})?)?|ICY)[ \t]+([1-9][0-9]{2})(?![0-9])", re.IGNORECASE
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
#: Not every white space: in Latin-1, U+00A0 and U+0085 may be half of a UTF-8 character, such as the end of "à".
_BLANKS = " \t\v\f"
#: Empty lines before a status line, as some servers send after an earlier response.
MAX_EMPTY_LINES = 4
#: Malformed lines that are reported.
MAX_REPORTED = 3
#: Malformed lines about the framing that are judged.
MAX_SUSPECTS = 20


class Head(NamedTuple):
    """Status and headers, names in lower case, each value a line.

    ``skipped`` are malformed lines, for the log; ``suspects`` those that may concern the framing: (header, line).
    """

    status: int
    headers: dict[str, list[str]]
    skipped: list[str]
    suspects: list[tuple[str, str]]

    def first(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        values = self.headers.get(name.lower())
        return values[0] if values else None

    def joined(self, name: str) -> str | None:
        """Return all values of a header as one list, or None."""
        values = self.headers.get(name.lower())
        return ", ".join(values) if values else None


def read_head(reader: io.BufferedReader[Any], host: str) -> Head:
    """Read the head of the final response; interim ones (1xx) are skipped. Bytes are read as Latin-1.

    The reader limits how many bytes there may be. Raises DownloadError if the connection ends, DownloadFailed for what
    is not HTTP.
    """
    while True:
        status = _status(reader, host)
        head = _headers(reader, host, status)
        if status >= 200:
            return head
        if status == 101:
            raise DownloadFailed(f"{host} answered 101 Switching Protocols although no upgrade was requested")


def _line(reader: io.BufferedReader[Any], host: str, started: bool) -> bytes:
    line = reader.readline()
    if not line.endswith(b"\n"):
        if not line and not started:
            raise DownloadError(f"{host} closed the connection without a response")
        if not started and not b"HTTP/1.".startswith(line.lstrip()[:7].upper()):
            raise _not_http(host, line)
        raise DownloadError(f"{host} closed the connection within the response headers")
    return line.rstrip(b"\r\n")


def _status(reader: io.BufferedReader[Any], host: str) -> int:
    # Read enough of the first line to see that this is HTTP: what is not may have no line ends at all.
    for _ in range(MAX_EMPTY_LINES + 1):
        line = _line(reader, host, False)
        if line:
            break
    match = _STATUS.match(line)
    if match is None:
        raise _not_http(host, line)
    return int(match[1])


def _not_http(host: str, line: bytes) -> DownloadFailed:
    if line.startswith(b"\x15\x03"):  # a TLS alert
        return DownloadFailed(f"{host} speaks TLS on this port. Try https://")
    return DownloadFailed(f"{host} sent a response that is not HTTP/1.1")


def _headers(reader: io.BufferedReader[Any], host: str, status: int) -> Head:
    head = Head(status, {}, [], [])
    last: list[str] | None = None
    while line := _line(reader, host, True):
        text = line.decode("latin-1")
        if text[0] in " \t" and last is not None:
            if last:
                last[-1] = f"{last[-1]} {text.strip(_BLANKS)}".strip(_BLANKS)
            continue
        name, colon, value = text.partition(":")
        name = name.rstrip(" \t")
        if colon and name.lower() in _CUT and (found := re.search(r"[\0\r]", value)):
            if len(head.skipped) < MAX_REPORTED:
                head.skipped.append(_shown(text))
            value = value[: found.start()]
        if not colon or not _NAME.match(name) or re.search(r"[\0\r]", value):
            meant = _FRAMING.search(re.sub(r"[^a-z]", "", (name if colon else text).lower()))
            if meant is not None and len(head.suspects) < MAX_SUSPECTS:
                head.suspects.append((meant[0], _shown(text)))
            elif len(head.skipped) < MAX_REPORTED:
                head.skipped.append(_shown(text))
            last = []
            continue
        key = name.lower()
        last = head.headers.setdefault(key, []) if key in _KEPT else []
        if key in _KEPT:
            last.append(value.strip(_BLANKS))
    return head


def _shown(text: str) -> str:
    name, colon, _value = text.partition(":")
    # A value may be a cookie or a token.
    return repr((f"{name}: …" if colon else text)[:60])
