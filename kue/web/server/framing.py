"""HTTP/1 message framing: unambiguous, or refused. Pure, for all servers of the app.

A request that two programs in a row parse differently lets one client's bytes become another's request
(request smuggling, RFC 9112, section 11.2). Such requests are refused, and their connections closed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.([0-9])\r\n")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\r\n\x00]*)?\r\n")
#: Maximum length of a chunk-size line, bytes.
CHUNK_LINE_MAX = 1024


class BadFraming(ValueError):
    """A request whose end is ambiguous; the message says why."""


def check_head(request_line: bytes, lines: Sequence[bytes]) -> None:
    """Raise BadFraming unless a request's head, given as lines without the empty one, is unambiguous."""
    found = _REQUEST_LINE.fullmatch(request_line)
    if found is None:
        raise BadFraming("malformed request line")
    lengths: list[bytes] = []
    codings: list[bytes] = []
    hosts = 0
    for line in lines:
        if not line.endswith(b"\r\n") or b"\0" in line or b"\r" in line[:-2] or b"\n" in line[:-2]:
            raise BadFraming("a header line that does not end with CRLF, or contains CR, LF or NUL")
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
        raise BadFraming("Content-Length and Transfer-Encoding must not be combined")
    if codings and found.group(1) == b"0":
        raise BadFraming("HTTP/1.0 does not support Transfer-Encoding")


def chunk_size(line: bytes) -> int:
    """Return the size in a chunk's first line. Raises BadFraming."""
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise BadFraming("a malformed chunk size" if line else "the body ends in the middle of a chunk")
    return int(found.group(1), 16)
