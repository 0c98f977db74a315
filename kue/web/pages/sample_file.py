"""The sample file: ten megabytes generated on the fly, without disk or internet, and slow enough to watch."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator

from flask import Blueprint, Response, request

sample = Blueprint("sample", __name__)

SIZE_BYTES = 10 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
#: Bytes per second, so that the whole file takes about three.
RATE = SIZE_BYTES / 3.0
PATH = "/sample/10mb.bin"
ETAG = f'"kue-sample-1-{SIZE_BYTES}"'


def sample_bytes(start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from ``start`` to ``end``, always the same ones, in chunks of at most CHUNK_BYTES."""
    while start < end:
        number, skip = divmod(start, CHUNK_BYTES)
        piece = hashlib.shake_128(b"kue sample %d" % number).digest(CHUNK_BYTES)[skip : skip + end - start]
        yield piece
        start += len(piece)


def _throttled(pieces: Iterator[bytes]) -> Iterator[bytes]:
    begun, sent = time.monotonic(), 0
    for piece in pieces:
        yield piece
        sent += len(piece)
        # Sleeping lets other requests run, so it is never skipped, only shortened.
        time.sleep(max(0.0, begun + sent / RATE - time.monotonic()))


def _wanted_range() -> tuple[int, int] | None:
    """Return the requested (start, end), None for the whole file. Raises ValueError if it cannot be satisfied."""
    header = request.headers.get("Range")
    if header is None or request.headers.get("If-Range", ETAG) != ETAG:
        return None
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", header.strip())
    if match is None or match.group(0) == "bytes=-":
        return None  # several ranges, or another unit: the whole file is a correct response
    first, last = match.groups()
    if not first:
        start, end = max(0, SIZE_BYTES - int(last)), SIZE_BYTES
    else:
        start, end = int(first), min(int(last) + 1 if last else SIZE_BYTES, SIZE_BYTES)
    if start >= end:
        raise ValueError(header)
    return start, end


@sample.get(PATH)
def sample_file() -> Response:
    """Send the file or a range of it, throttled."""
    headers = {"Accept-Ranges": "bytes", "ETag": ETAG, "Cache-Control": "no-cache"}
    if ETAG in request.headers.get("If-None-Match", ""):
        return Response(status=304, headers=headers)
    try:
        wanted = _wanted_range()
    except ValueError:
        return Response(status=416, headers={**headers, "Content-Range": f"bytes */{SIZE_BYTES}"})
    start, end = wanted or (0, SIZE_BYTES)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{SIZE_BYTES}"
    headers["Content-Length"] = str(end - start)
    headers["Content-Disposition"] = 'attachment; filename="10mb.bin"'
    body = _throttled(sample_bytes(start, end)) if request.method == "GET" else iter(())
    return Response(body, 206 if wanted else 200, headers, mimetype="application/octet-stream")
