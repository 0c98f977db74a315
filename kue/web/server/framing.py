"""Where an HTTP/1 request ends: one reading only, or none. Pure, for every server that the app runs on.

A request that two programs in a row could read in two ways is how one client's bytes become another's request
(RFC 9112, section 11.2). Such a request is refused, and its connection closed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.([0-9])\r\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n\x00]*)?\r\n")
#: Bytes of the line that names a chunk's size.
CHUNK_LINE_MAX = 1024


class BadFraming(ValueError):
    """A request whose end is not certain; the text says why."""


def check_head(request_line: bytes, lines: Sequence[bytes]) -> None:
    """Raise BadFraming unless the head of a request, its lines without the empty one, can be read in one way only."""
    found = _REQUEST_LINE.fullmatch(request_line)
    if found is None:
        raise BadFraming("malformed request line")
    lengths: list[bytes] = []
    codings: list[bytes] = []
    hosts = 0
    for line in lines:
        if not line.endswith(b"\r\n") or b"\0" in line or b"\r" in line[:-2] or b"\n" in line[:-2]:
            raise BadFraming("a header line that does not end with CRLF, or holds CR, LF or NUL")
        name, colon, value = line[:-2].partition(b":")
        if line[:1] in b" \t":
            raise BadFraming("a header line folded over several lines")
        if not colon or not _NAME.fullmatch(name):
            raise BadFraming("a malformed header name")
        lower = name.lower()
        if lower == b"content-length":
            lengths.append(value.strip(b" \t"))
        elif lower == b"transfer-encoding":
            codings.append(value.strip(b" \t"))
        elif lower == b"host":
            hosts += 1
    if hosts > 1:
        raise BadFraming("more than one Host header")
    if len(lengths) > 1 or (lengths and not _LENGTH.fullmatch(lengths[0])):
        raise BadFraming("Content-Length must be one whole number")
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked"):
        raise BadFraming("the only supported Transfer-Encoding is chunked, once")
    if codings and lengths:
        raise BadFraming("Content-Length and Transfer-Encoding exclude each other")
    if codings and found.group(1) == b"0":
        raise BadFraming("HTTP/1.0 has no Transfer-Encoding")


def chunk_size(line: bytes) -> int:
    """Return the size that a chunk's first line names. Raises BadFraming."""
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise BadFraming("a malformed chunk size" if line else "the body ends in the middle of a chunk")
    return int(found.group(1), 16)
