"""Servers that behave at random: whatever they do, a file that arrives is one whole version of theirs.

They are honest: what they send belongs to the version, the range and the length that they declare. They cut, reset and
refuse connections, change the file, ignore ranges or If-Range, and send other ranges than requested.
More of them: ``KUE_SEQUENCES=3000``; one of them: its number is in the failure.
"""

from __future__ import annotations

import gzip
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

import pytest

from kue.downloads import DownloadError, DownloadHandler
from kue.downloads.files import segment_map
from tests.downloads.hostile import FakeJob, HostileServer, Request, Wire, content

SEQUENCES = int(os.environ.get("KUE_SEQUENCES", "0")) or 30
#: The first of them; 576 once lost the end of its file.
FIRST = 570
#: Requests after which a server behaves, so that each download ends.
CALM_AFTER = 20
OLD = 1_500_000_000


@dataclass
class RandomServer:
    """A server with up to four versions of a file."""

    seed: int
    answered: int = 0
    version: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        choose = self.random.choice
        size = choose([5_000, 60_000, 200_000])
        self.files = [content(size + 100, self.seed * 10 + i)[: size - choose([0, 0, 37, -100])] for i in range(4)]
        self.validators = choose(["strong", "weak date", "date", "unquoted date", "strong date", "weak", "none"])
        self.if_range = choose(["right", "date only", "ignored", "never"])
        self.changes = choose([True, False])

    def __call__(self, request: Request, wire: Wire) -> None:
        """Answer one request."""
        with self.lock:
            self.answered += 1
            is_calm = self.answered > CALM_AFTER
            if self.changes and not is_calm and self.random.random() < 0.2:
                self.version = min(3, self.version + 1)
            version, dice, cut = self.version, self.random.random(), self.random.random()
        data, headers = self.files[version], self._headers(version)
        span = request.range(len(data))

        def send(status: str, more: str, body: bytes, share: float = 1.0) -> None:
            wire.send(f"HTTP/1.1 {status}\r\n{headers}{more}\r\n".encode() + body[: int(len(body) * share)])

        def send_range(first: int, end: int, share: float = 1.0, total: str = "") -> None:
            range_ = f"Content-Range: bytes {first}-{end - 1}/{total or len(data)}\r\nContent-Length: {end - first}\r\n"
            send("206 x", range_, data[first:end], share)

        if not is_calm and self._misbehaves(dice, cut, wire, data, span, send, send_range):
            return
        share = cut if not is_calm and dice > 0.65 else 1.0
        if span is not None and span[0] < len(data) and self._serves_ranges(request, version):
            send_range(*span, share)
        else:
            send("200 OK", f"Accept-Ranges: bytes\r\nContent-Length: {len(data)}\r\n", data, share)

    def _headers(self, version: int) -> str:
        words = self.validators.split()
        tags = {"strong": f'"v{version}"', "weak": f'W/"v{version}"', "unquoted": f"v{version}"}
        found = f"Date: {formatdate(time.time(), usegmt=True)}\r\n"
        found += f"ETag: {tags[words[0]]}\r\n" if words[0] in tags else ""
        return found + (f"Last-Modified: {self._date(version)}\r\n" if "date" in words else "")

    def _date(self, version: int) -> str:
        return formatdate(OLD + version * 1000, usegmt=True)

    def _serves_ranges(self, request: Request, version: int) -> bool:
        asked = request.headers.get("if-range")
        matches = [self._date(version)] + ([f'"v{version}"'] if self.if_range == "right" else [])
        return {"never": False, "ignored": True}.get(self.if_range, asked is None or asked in matches)

    def _misbehaves(
        self,
        dice: float,
        cut: float,
        wire: Wire,
        data: bytes,
        span: tuple[int, int] | None,
        send: Callable[..., None],
        send_range: Callable[..., None],
    ) -> bool:
        """Answer in some other way; return whether that was done."""
        first = span[0] if span is not None and span[0] < len(data) else None
        if dice < 0.1:
            wire.reset()
        elif dice < 0.15:
            send("503 x", "Content-Length: 0\r\n", b"")
        elif dice < 0.36 and span is None:
            chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)
            send("200 OK", "Transfer-Encoding: chunked\r\n", chunks, cut if cut < 0.7 else 1.0)
        elif dice < 0.2 and span is not None:
            send("416 x", f"Content-Range: bytes */{len(data)}\r\nContent-Length: 0\r\n", b"")
        elif dice < 0.23 and span is not None:
            send("416 x", "Content-Length: 0\r\n", b"")
        elif dice < 0.27 and span is not None:
            send_range(0, len(data), cut if cut < 0.5 else 1.0)
        elif dice < 0.3 and first is not None:
            send_range(max(0, first - int(1 + 50 * cut)), len(data))
        elif dice < 0.36 and first is not None:
            send_range(first, min(len(data), first + int(1 + 40_000 * cut)), total="*" if cut < 0.5 else "")
        elif dice < 0.38 and span is not None:
            send("206 x", "Content-Type: multipart/byteranges; boundary=x\r\n", b"--x\r\n\r\nhello\r\n--x--\r\n")
        elif dice < 0.4:
            packed = gzip.compress(data, 1)
            send("200 OK", f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n", packed, cut)
        elif dice < 0.45:
            send("302 x", f"Location: /{int(100 * cut)}\r\nContent-Length: 0\r\n", b"")
        else:
            return False
        return True


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEQUENCES))
def test_what_arrives_is_one_whole_version(
    make: Callable[..., DownloadHandler], folder: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(segment_map, "LEAST_BYTES", 16 * 1024)
    script = RandomServer(seed)
    with HostileServer(script) as server:
        job, handler = FakeJob(server.url(), segments=1 + seed % 4), make(server)
        for _ in range(2 * CALM_AFTER):
            try:
                result = handler(job)
                break
            except DownloadError:
                pass
    file = (folder / result["file"]).read_bytes()
    assert (gzip.decompress(file) if result["content_encoding"] else file) in script.files
