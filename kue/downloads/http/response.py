"""One response: what its headers say, and its body as bytes that are counted and unpacked from chunks."""

from __future__ import annotations

import base64
import binascii
import re

from ..errors import DownloadFailed
from .connection import HttpStream
from .framing import read_framing
from .response_head import Head
from .retry_after import http_date, retry_after_s
from .timeouts import ConnectionBroken

_CONTENT_RANGE = re.compile(
    r"""["']?(?:bytes|octets?)?[\s:=]*(?:(\d{1,18})\s*-\s*(\d{1,18})|\*)\s*(?:/\s*(\d{1,18}|\*|-1)\s*)?[\s,;"']*$""",
    re.IGNORECASE,
)
_CHUNK = re.compile(rb"[ \t]*(?:0x)?0*([0-9a-f]{1,15})[ \t]*(?:;.*)?\r?\n", re.IGNORECASE | re.DOTALL)
#: Longest line with a chunk's size and extensions, bytes.
MAX_CHUNK_LINE = 4096
#: What is wrong with the framing is logged up to here.
MAX_DOUBTS = 5
#: Content codings that change the bytes, and the file name extension of each. Anything else names no coding.
CODINGS = {
    "gzip": ".gz", "x-gzip": ".gz", "compress": ".Z", "x-compress": ".Z", "deflate": ".deflate", "br": ".br",
    "zstd": ".zst", "x-zstd": ".zst", "bzip2": ".bz2", "x-bzip2": ".bz2", "bzip": ".bz2", "xz": ".xz", "x-xz": ".xz",
    "lzma": ".lzma", "x-lzma": ".lzma", "lz4": ".lz4", "x-lz4": ".lz4", "snappy": ".snappy", "dcb": ".dcb",
    "dcz": ".dcz", "exi": ".exi", "pack200-gzip": ".pack.gz", "aes128gcm": ".aes128gcm",
}  # fmt: skip
#: Algorithms of Repr-Digest, Content-Digest and Digest, and their names in hashlib; the best comes first.
_DIGESTS = {"sha-512": "sha512", "sha-256": "sha256", "sha": "sha1", "md5": "md5"}
_DIGEST_BYTES = {"sha512": 64, "sha256": 32, "sha1": 20, "md5": 16}
_NOT_WHOLE = frozenset({202, 204, 205, 206})


class Response:
    """Status, headers and body of the last response in a chain of redirects.

    ``url`` is its URL without credentials; ``redirects`` the number of redirects before it. ``length`` is the declared
    size of this body, or None: chunks or the end of the connection then mark its end.
    """

    def __init__(self, head: Head, stream: HttpStream, url: str, host: str, redirects: int) -> None:
        self._head, self._stream = head, stream
        self.url, self.host, self.redirects = url, host, redirects
        self.status = head.status
        self._framing = read_framing(head)
        self.chunked, self.length = self._framing.chunked, self._framing.length
        self.received = 0
        self._chunk_left = 0
        self._ended = False

    def close(self) -> None:
        """Close the connection. Unread bytes are lost."""
        self._stream.close()

    def copy_to(self, fd: int, position: int, view: memoryview) -> int:
        """Write some bytes of the body at ``position`` of a file; return how many, 0 at the body's proper end.

        ``view`` is memory that may be used for it; its size is the maximum. Raises ConnectionBroken if the connection
        ends before the body does.
        """
        most = self._next_chunk(len(view)) if self.chunked else self._next_plain(len(view))
        if most == 0:
            return 0
        size = self._stream.fill_file(fd, position, view[:most])
        if size == 0 and not self._may_end():
            raise self.broken()
        if self.chunked:
            self._chunk_left -= size
        self.received += size
        self._stream.monitor.delivered()
        return size

    @property
    def is_open_ended(self) -> bool:
        """Whether nothing but the end of the connection marks the end of the body."""
        return not self.chunked and self.length is None and not self._framing.lengths

    def _may_end(self) -> bool:
        """Whether the end of the connection may be the end of the body."""
        return self.is_open_ended or (self.length is None and self.received in self._framing.lengths)

    @property
    def is_whole(self) -> bool:
        """Whether the status says that the body is the whole file."""
        if self.status == 205 or (300 <= self.status < 400 and self.status != 304):
            # Neither should have a body; if it has one, and no Location, browsers take it.
            return bool(self.length) and not self.header("Location")
        return 200 <= self.status < 300 and self.status not in _NOT_WHOLE

    @property
    def to_end(self) -> bool:
        """Whether this body extends to the end of the file."""
        span = self.content_range()
        return self.is_whole or (span is not None and span[1] is not None and span[2] == span[1] + 1)

    def header(self, name: str) -> str | None:
        """Return a header's first value, or None."""
        return self._head.first(name)

    def header_lines(self, name: str) -> list[str]:
        """Return the values of a header, one for each line."""
        return self._head.headers.get(name.lower(), [])

    def broken(self) -> ConnectionBroken:
        """Return the error for a connection that ended too early."""
        return ConnectionBroken("The server closed the connection", url=self.url, status=self.status)

    # -- headers

    def _values(self, name: str) -> list[str]:
        joined = self._head.joined(name)
        return [] if joined is None else [value.strip() for value in joined.split(",")]

    def check_framing(self) -> None:
        """Raise DownloadFailed, and close the connection, if the end of the body is uncertain."""
        if self._framing.problem is not None:
            raise self._malformed(self._framing.problem)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is wrong with the framing although the body can be used, for the log."""
        return self._framing.notes[:MAX_DOUBTS]

    def expect(self, size: int) -> None:
        """Set the size of a body whose headers do not say it otherwise: that of a range."""
        if self.length is None and not self.chunked:
            self.length = size

    def _malformed(self, what: str) -> DownloadFailed:
        self.close()
        return DownloadFailed(f"{self.host} sent {what}", url=self.url, status=self.status)

    @property
    def codings(self) -> list[str]:
        """The codings of the bytes, lower case, in the order in which they were applied; empty for plain bytes."""
        content = [value for value in map(str.lower, self._values("Content-Encoding")) if value in CODINGS]
        return [*content, *self._framing.codings]

    @property
    def coding(self) -> str | None:
        """The codings as one string, or None for plain bytes."""
        return ", ".join(self.codings)[:200] or None

    @property
    def is_transfer_coded(self) -> bool:
        """Whether the bytes are compressed for the transfer, so that positions in them are not those of ranges."""
        return bool(self._framing.codings)

    @property
    def unknown_codings(self) -> list[str]:
        """Values of Content-Encoding that name no coding."""
        return [value for value in self._values("Content-Encoding") if value.lower() not in ("", "identity", *CODINGS)]

    @property
    def strong_etag(self) -> str | None:
        """The ETag if it is a strong one."""
        etag = (self.header("ETag") or "").strip()
        return etag if re.fullmatch(r'"[\x21\x23-\x7e\x80-\xff]{1,1024}"', etag) else None

    @property
    def strong_date(self) -> str | None:
        """The Last-Modified date if it is a strong validator.

        RFC 9110, 8.8.2.2: a date is strong if the response was made at least a second after it.
        """
        modified = self.header("Last-Modified")
        changed_at, made_at = http_date(modified), http_date(self.header("Date"))
        if changed_at is None or made_at is None or made_at - changed_at < 1:
            return None
        return modified

    @property
    def validator(self) -> str | None:
        """What identifies this version for ``If-Range``: a strong ETag, else a strong date (RFC 9110, 13.1.5).

        None under a transfer coding: ranges count the bytes without it.
        """
        return None if self.is_transfer_coded else self.strong_etag or self.strong_date

    @property
    def takes_ranges(self) -> bool:
        """Whether the server announces that it serves ranges of this file."""
        return "bytes" in [value.lower() for value in self._values("Accept-Ranges")]

    def content_range(self) -> tuple[int | None, int | None, int | None] | None:
        """Return (first, last, total) of ``Content-Range``, None for ``*``; None alone if it is invalid."""
        values = {value.strip() for value in self._head.headers.get("content-range", [])}
        match = _CONTENT_RANGE.match(values.pop()) if len(values) == 1 else None
        if match is None:
            return None
        first, last, total = match.groups()
        return (
            None if first is None else int(first),
            None if last is None else int(last),
            None if total in (None, "*", "-1") else int(total),
        )

    def retry_after_s(self) -> float | None:
        """Return the seconds that the server asks to wait, or None."""
        return retry_after_s(self._head)

    def digests(self) -> dict[str, tuple[str, str]]:
        """Return digests of the whole file from the headers: {algorithm: (hexadecimal digest, header name)}.

        Only the strongest of Repr-Digest, Digest and Content-Digest, and Content-MD5 if it is alone. None under a
        transfer coding, which digests do not cover.
        """
        if self.is_transfer_coded:
            return {}
        names = ["Repr-Digest", "Digest", *(["Content-Digest"] if self.is_whole else [])]
        found: dict[str, tuple[str, str]] = {}
        for name in names:
            for item in self._values(name):
                algorithm, equals, value = item.partition("=")
                kind = _DIGESTS.get(algorithm.strip().lower())
                digest = _hexadecimal(value.split(";")[0].strip(), kind) if kind and equals else None
                if kind and digest:
                    found.setdefault(kind, (digest, name))
        content_md5 = (self.header("Content-MD5") or "").strip()
        if self.is_whole and not found and (digest := _hexadecimal(content_md5, "md5")):
            found["md5"] = digest, "Content-MD5"
        best = next((kind for kind in _DIGESTS.values() if kind in found), None)
        return {} if best is None else {best: found[best]}

    # -- body

    def _next_plain(self, most: int) -> int:
        """Return how many bytes of a body without chunks to read; 0 at its end."""
        return most if self.length is None else max(0, min(most, self.length - self.received))

    def _next_chunk(self, most: int) -> int:
        """Return how many bytes of the current or next chunk to read; 0 after the last chunk."""
        if self._ended:
            return 0
        if self._chunk_left == 0:
            if self.received and self._line() not in (b"\r\n", b"\n"):
                raise self._malformed("a chunk that is longer than its declared size")
            self._chunk_left = self._chunk_size()
            if self._chunk_left == 0:
                while self._line() not in (b"\r\n", b"\n"):
                    pass  # trailers; the monitor limits their size
                self._ended = True
        return min(most, self._chunk_left)

    def _chunk_size(self) -> int:
        match = _CHUNK.fullmatch(self._line())
        if match is None:
            raise self._malformed("a chunk without a valid size")
        return int(match[1], 16)

    def _line(self) -> bytes:
        line = self._stream.reader.readline(MAX_CHUNK_LINE)
        if not line.endswith(b"\n"):
            if len(line) >= MAX_CHUNK_LINE:
                raise self._malformed(f"a chunk header longer than {MAX_CHUNK_LINE} bytes")
            raise self.broken()
        return line


def _hexadecimal(text: str, kind: str) -> str | None:
    """Return a digest in hexadecimal: it is sent in base64, sometimes without padding, sometimes in hexadecimal."""
    text, size = text.strip("\"':"), _DIGEST_BYTES[kind]
    if re.fullmatch(rf"[0-9a-fA-F]{{{2 * size}}}", text):
        return text.lower()
    try:
        digest = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == size else None
