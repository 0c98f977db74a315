"""Read the status line and headers of a response: lenient where browsers are, strict about framing."""

from __future__ import annotations

import io
import re
from typing import Any, NamedTuple

from ..errors import DownloadError, DownloadFailed

#: Headers that a download uses; others are read and dropped.
_KEPT = frozenset(
    "accept-ranges content-disposition content-encoding content-digest content-length content-md5 content-range "
    "content-type date digest etag last-modified location ratelimit-remaining ratelimit-reset repr-digest retry-after "
    "server set-cookie transfer-encoding x-ratelimit-remaining x-ratelimit-reset".split()
)
#: If a malformed line may have been meant as one of these, the end of the body is uncertain.
_FRAMING = re.compile(r"content(length|range)|transferencoding")
_STATUS = re.compile(rb"HTTP/1\.[0-9][ \t]+([1-9][0-9]{2})(?:[ \t].*)?$", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
#: Empty lines before a status line, as some servers send after an earlier response.
MAX_EMPTY_LINES = 4
#: Malformed lines that are reported.
MAX_REPORTED = 3


class Head(NamedTuple):
    """Status and headers, names in lower case, each value a line; ``skipped`` are malformed lines, for the log."""

    status: int
    headers: dict[str, list[str]]
    skipped: list[str]

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
    is not HTTP, and for a malformed line that may concern the framing.
    """
    while True:
        status = _status(reader, host)
        headers, skipped = _headers(reader, host)
        if status >= 200:
            return Head(status, headers, skipped)
        if status == 101:
            raise DownloadFailed(f"{host} answered 101 Switching Protocols although no upgrade was requested")


def _line(reader: io.BufferedReader[Any], host: str, started: bool) -> bytes:
    line = reader.readline()
    if not line.endswith(b"\n"):
        if not line and not started:
            raise DownloadError(f"{host} closed the connection without a response")
        raise DownloadError(f"{host} closed the connection within the response headers")
    return line[:-2] if line.endswith(b"\r\n") else line[:-1]


def _status(reader: io.BufferedReader[Any], host: str) -> int:
    # Read enough of the first line to see that this is HTTP: what is not may have no line ends at all.
    for _ in range(MAX_EMPTY_LINES):
        line = _line(reader, host, False)
        if line:
            break
    match = _STATUS.match(line)
    if match is None:
        raise DownloadFailed(f"{host} sent a response that is not HTTP/1.x")
    return int(match[1])


def _headers(reader: io.BufferedReader[Any], host: str) -> tuple[dict[str, list[str]], list[str]]:
    headers: dict[str, list[str]] = {}
    skipped: list[str] = []
    last: list[str] | None = None
    while line := _line(reader, host, True):
        text = line.decode("latin-1")
        if text[0] in " \t" and last is not None:
            if last:
                last[-1] = f"{last[-1]} {text.strip()}".strip()
            continue
        name, colon, value = text.partition(":")
        name = name.rstrip(" \t")
        if not colon or not _NAME.match(name) or re.search(r"[\0\r]", value):
            if _FRAMING.search(re.sub(r"[^a-z]", "", (name if colon else text).lower())):
                raise DownloadFailed(
                    f"{host} sent a malformed header line that concerns the length of the body: {_shown(text)}"
                )
            if len(skipped) < MAX_REPORTED:
                skipped.append(_shown(text))
            last = []
            continue
        key = name.lower()
        last = headers.setdefault(key, []) if key in _KEPT else []
        if key in _KEPT:
            last.append(value.strip())
    return headers, skipped


def _shown(text: str) -> str:
    name, colon, _value = text.partition(":")
    # A value may be a cookie or a token.
    return repr((f"{name}: …" if colon else text)[:60])
