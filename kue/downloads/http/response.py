"""One answer of a server: its headers read strictly, its body as bytes that are counted and unpacked from chunks."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from ..errors import DownloadFailed
from .connection import MeteredResponse
from .watchdog import Cut

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)$", re.IGNORECASE)
#: Longest line that gives a chunk's size, bytes, with its extensions.
MAX_CHUNK_LINE = 4096


class Answer:
    """Status, headers and body of the last answer in a chain of redirects.

    ``url`` is where it came from, without credentials; ``redirects`` how many hops led there. ``length`` is the
    declared size of this body, or None: the end is then told by chunks, or only by the closing of the connection.
    """

    def __init__(self, response: Any, metered: MeteredResponse, url: str, host: str, redirects: int) -> None:
        self._response, self._metered = response, metered
        self.url, self.host, self.redirects = url, host, redirects
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.chunked = False
        self.length: int | None = None
        self.received = 0
        self._chunk_left = 0
        self._ended = False
        self._read_framing()

    def close(self) -> None:
        """Close the connection. What was not read is lost."""
        self._response.close()
        self._metered.close()

    def copy_to(self, fd: int, position: int, view: memoryview) -> int:
        """Write some bytes of the body at ``position`` of a file; return how many, 0 at the body's proper end.

        ``view`` is memory that may be used for it; its size is the most that is taken. Raises Cut if the connection
        ends before the body does.
        """
        most = self._next_chunk(len(view)) if self.chunked else self._next_plain(len(view))
        if most == 0:
            return 0
        size = self._metered.fill_file(fd, position, view[:most])
        if size == 0 and (self.chunked or self.length is not None):
            raise self.cut()
        if self.chunked:
            self._chunk_left -= size
        self.received += size
        self._metered.meter.delivered()
        return size

    @property
    def to_end(self) -> bool:
        """Whether this body goes on to the end of the file."""
        span = self.content_range()
        return self.status == 200 or (span is not None and span[1] is not None and span[2] == span[1] + 1)

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return self.headers.get(name)

    def cut(self) -> Cut:
        """Return the error for a connection that ended too early."""
        return Cut("The server closed the connection", url=self.url, status=self.status)

    # -- headers

    def _values(self, name: str) -> list[str]:
        joined = self.headers.get(name)
        return [] if joined is None else [value.strip() for value in joined.split(",")]

    def _read_framing(self) -> None:
        coding = [value.lower() for value in self._values("Transfer-Encoding")]
        if coding not in ([], ["chunked"], ["identity"]):
            raise self._malformed(f"a Transfer-Encoding that is not understood, {', '.join(coding)[:80]!r}")
        self.chunked = coding == ["chunked"]
        lengths = set(self._values("Content-Length"))
        if self.chunked or self.status in (204, 304):
            self.length = None if self.chunked else 0
        elif len(lengths) > 1:
            raise self._malformed("two different lengths")
        elif lengths:
            text = lengths.pop()
            if not re.fullmatch(r"[0-9]{1,18}", text):
                raise self._malformed("a length that is not a number")
            self.length = int(text)

    def _malformed(self, what: str) -> DownloadFailed:
        self.close()
        return DownloadFailed(f"{self.host} sent {what}", url=self.url, status=self.status)

    @property
    def coding(self) -> str | None:
        """The Content-Encoding, lower case, or None for plain bytes."""
        values = [value.lower() for value in self._values("Content-Encoding") if value.lower() not in ("", "identity")]
        return ", ".join(values) or None

    @property
    def validator(self) -> str | None:
        """What tells this version from any other, for ``If-Range``: a strong ETag, else a strong Last-Modified.

        RFC 9110, 8.8.2.2: a date is strong if the answer was made at least a second after it.
        """
        etag = self.headers.get("ETag")
        if etag is not None:
            return etag if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]{1,1024}"', etag.strip()) else None
        modified, date = self.headers.get("Last-Modified"), self.headers.get("Date")
        changed_at, made_at = _seconds(modified), _seconds(date)
        if changed_at is None or made_at is None or made_at - changed_at < 1:
            return None
        return modified

    @property
    def takes_ranges(self) -> bool:
        """Whether the server says that it serves ranges of this file."""
        return "bytes" in [value.lower() for value in self._values("Accept-Ranges")]

    def content_range(self) -> tuple[int | None, int | None, int | None] | None:
        """Return (first, last, total) of ``Content-Range``; None within for ``*``, None alone if it cannot be read."""
        match = _CONTENT_RANGE.match((self.headers.get("Content-Range") or "").strip())
        if match is None:
            return None
        first, last, total = match.groups()
        return (
            None if first is None else int(first),
            None if last is None else int(last),
            None if total == "*" else int(total),
        )

    def retry_after_s(self) -> float | None:
        """Return the seconds of ``Retry-After``, given as a number or a date, or None."""
        text = (self.headers.get("Retry-After") or "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return float(text)
        at = _seconds(text)
        return None if at is None else max(0.0, at - time.time())

    # -- body

    def _next_plain(self, most: int) -> int:
        """Return how many bytes to read at once of a body without chunks; 0 if it is over."""
        return most if self.length is None else max(0, min(most, self.length - self.received))

    def _next_chunk(self, most: int) -> int:
        """Return how many bytes to read at once of what is left of a chunk, perhaps of the next; 0 after the last."""
        if self._ended:
            return 0
        if self._chunk_left == 0:
            if self.received and self._line() not in (b"\r\n", b"\n"):
                raise self._malformed("a chunk that is longer than it says")
            self._chunk_left = self._chunk_size()
            if self._chunk_left == 0:
                while self._line() not in (b"\r\n", b"\n"):
                    pass  # trailers; the meter stops those without end
                self._ended = True
        return min(most, self._chunk_left)

    def _chunk_size(self) -> int:
        match = re.match(rb"([0-9A-Fa-f]{1,15})[ \t]*(;.*)?\r?\n$", self._line(), re.DOTALL)
        if match is None:
            raise self._malformed("a chunk without a size")
        return int(match[1], 16)

    def _line(self) -> bytes:
        line = self._metered.fp.readline(MAX_CHUNK_LINE)
        if not line.endswith(b"\n"):
            if len(line) >= MAX_CHUNK_LINE:
                raise self._malformed("a chunk line that is too long")
            raise self.cut()
        return line


def _seconds(text: str | None) -> float | None:
    """Return an HTTP date as epoch seconds, or None."""
    try:
        parsed = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return (parsed if parsed.tzinfo else datetime.combine(parsed.date(), parsed.time(), UTC)).timestamp()
