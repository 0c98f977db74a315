"""A first response that is cut in half, and what servers answer to the request for the rest."""

from __future__ import annotations

import gzip

from tests.downloads.hostile import Request, Script, Wire, content

from .cases import BODY, Case, chunked

HALF = 2500
NEW = content(5000, seed=2)
MODIFIED = "Wed, 01 Jan 2020 00:00:00 GMT"
NOW = "Fri, 27 Nov 2026 00:00:00 GMT"

_VALIDATORS = {
    "strong ETag": 'ETag: "v1"\n',
    "weak ETag": 'ETag: W/"v1"\n',
    "unquoted ETag": "ETag: v1\n",
    "empty ETag": 'ETag: ""\n',
    "strong date": f"Date: {NOW}\nLast-Modified: {MODIFIED}\n",
    "date that may change": f"Date: {NOW}\nLast-Modified: {NOW}\n",
    "weak ETag and strong date": f'ETag: W/"v1"\nDate: {NOW}\nLast-Modified: {MODIFIED}\n',
    "unquoted ETag and strong date": f"ETag: v1\nDate: {NOW}\nLast-Modified: {MODIFIED}\n",
    "none": "",
    "an ISO date": f"Date: {NOW}\nLast-Modified: 2020-01-01T00:00:00Z\n",
}
_TAG = _VALIDATORS["strong ETag"]
#: Heads and bodies that answer the request for the bytes from HALF on.
_RESTS: dict[str, tuple[str, bytes]] = {
    "proper": ("206 x\nContent-Range: bytes 2500-4999/5000\nContent-Length: 2500\n", BODY[HALF:]),
    "an equals sign": ("206 x\nContent-Range: bytes=2500-4999/5000\nContent-Length: 2500\n", BODY[HALF:]),
    "upper case": ("206 x\nContent-Range: Bytes 2500-4999/5000\nContent-Length: 2500\n", BODY[HALF:]),
    "no unit": ("206 x\nContent-Range: 2500-4999/5000\nContent-Length: 2500\n", BODY[HALF:]),
    "unknown total": ("206 x\nContent-Range: bytes 2500-4999/*\nContent-Length: 2500\n", BODY[HALF:]),
    "no total": ("206 x\nContent-Range: bytes 2500-4999\nContent-Length: 2500\n", BODY[HALF:]),
    "no length": ("206 x\nContent-Range: bytes 2500-4999/5000\n", BODY[HALF:]),
    "chunked": ("206 x\nContent-Range: bytes 2500-4999/5000\nTransfer-Encoding: chunked\n", chunked(BODY[HALF:])),
    "no range": ("206 x\nContent-Length: 2500\n", BODY[HALF:]),
    "another range": ("206 x\nContent-Range: bytes 2000-4999/5000\nContent-Length: 3000\n", BODY[2000:]),
    "all as a range": ("206 x\nContent-Range: bytes 0-4999/5000\nContent-Length: 5000\n", BODY),
    "a beginning": ("206 x\nContent-Range: bytes 0-2499/5000\nContent-Length: 2500\n", BODY[:HALF]),
    "another total": ("206 x\nContent-Range: bytes 2500-4999/5001\nContent-Length: 2500\n", BODY[HALF:]),
    "beyond the end": ("206 x\nContent-Range: bytes 2500-5999/6000\nContent-Length: 3500\n", BODY[HALF:] + bytes(1000)),
    "a contradictory length": ("206 x\nContent-Range: bytes 2500-4999/5000\nContent-Length: 2000\n", BODY[HALF:4500]),
    "cut again": ("206 x\nContent-Range: bytes 2500-4999/5000\nContent-Length: 2500\n", BODY[HALF:4000]),
    "a shorter range": ("206 x\nContent-Range: bytes 2500-3999/5000\nContent-Length: 1500\n", BODY[HALF:4000]),
    "a shorter range of unknown total": (
        "206 x\nContent-Range: bytes 2500-3999/*\nContent-Length: 1500\n",
        BODY[HALF:4000],
    ),
    "multipart": (
        "206 x\nContent-Type: multipart/byteranges; boundary=x\n",
        b"--x\r\nContent-Range: bytes 2500-4999/5000\r\n\r\n" + BODY[HALF:] + b"\r\n--x--\r\n",
    ),
    "whole": ("200 OK\nContent-Length: 5000\n", BODY),
    "a gzip": ("206 x\nContent-Encoding: gzip\nContent-Range: bytes 2500-4999/5000\n", gzip.compress(BODY)[HALF:]),
    "a gzip for the transfer": (
        "206 x\nTransfer-Encoding: gzip\nContent-Range: bytes 2500-4999/5000\n",
        gzip.compress(BODY[HALF:]),
    ),
    "416": ("416 x\nContent-Length: 0\n", b""),
    "416 with the size": ("416 x\nContent-Range: bytes */5000\nContent-Length: 0\n", b""),
    "416 as if complete": ("416 x\nContent-Range: bytes */2500\nContent-Length: 0\n", b""),
    "204": ("204 x\n", b""),
    "500": ("500 x\nContent-Length: 0\n", b""),
    "nothing": ("", b""),
    "400": ("400 x\nContent-Length: 0\n", b""),
    "403": ("403 x\nContent-Length: 0\n", b""),
    "405": ("405 x\nContent-Length: 0\n", b""),
    "412": ("412 x\nContent-Length: 0\n", b""),
    "501": ("501 x\nContent-Length: 0\n", b""),
    "after a 103": (
        "103 x\n\nHTTP/1.1 206 x\nContent-Range: bytes 2500-4999/5000\nContent-Length: 2500\n",
        BODY[HALF:],
    ),
    "a semicolon behind": ("206 x\nContent-Range: bytes 2500-4999/5000;\nContent-Length: 2500\n", BODY[HALF:]),
    "bytes behind": ("206 x\nContent-Range: bytes 2500-4999/5000\nContent-Length: 2500\n", BODY[HALF:] + b"junk"),
    "bytes behind, no length": ("206 x\nContent-Range: bytes 2500-4999/5000\n", BODY[HALF:] + b"junk"),
    "a redirect": ("302 x\nLocation: /other\nContent-Length: 0\n", b""),
}


def _send(wire: Wire, head: str, body: bytes) -> None:
    if head:
        wire.send(f"HTTP/1.1 {head}\n".replace("\n", "\r\n").encode() + body)


def cut(validator: str, rest: tuple[str, bytes] | None) -> Script:
    """Cut the first response, answer the second with ``rest`` if it asks for a range, and all others properly."""

    def script(request: Request, wire: Wire) -> None:
        span = request.range(5000)
        if request.number == 0:
            _send(wire, f"200 OK\n{validator}Accept-Ranges: bytes\nContent-Length: 5000\n", BODY[:HALF])
        elif span is not None and rest is not None and request.number == 1:
            _send(wire, rest[0].replace("\n", f"\n{validator}", 1), rest[1])
        elif span is not None:
            first, end = span
            range_ = f"Content-Range: bytes {first}-{end - 1}/5000\n"
            _send(wire, f"206 x\n{validator}{range_}Content-Length: {end - first}\n", BODY[first:end])
        else:
            _send(wire, f"200 OK\n{validator}Content-Length: 5000\n", BODY)

    return script


def replaced(request: Request, wire: Wire) -> None:
    """Replace the file after half of it was sent; ranges are served whatever If-Range says."""
    file, tag = (BODY, "v1") if request.number == 0 else (NEW, "v2")
    first, end = request.range(5000) or (0, 5000)
    line = f"206 x\nContent-Range: bytes {first}-{end - 1}/5000" if "range" in request.headers else "200 OK"
    body = file[first:HALF] if request.number == 0 else file[first:end]
    _send(wire, f'{line}\nETag: "{tag}"\nContent-Length: {end - first}\n', body)


def unknown_size(pieces: int, tag: str, past: str) -> Script:
    """Answer 206 always, in so many pieces, never saying how long the file is; ``past`` answers what is behind it."""

    def script(request: Request, wire: Wire) -> None:
        first = (request.range(9999) or (0, 0))[0]
        end = min(5000, first + 5000 // pieces)
        if first >= 5000 and past:
            _send(wire, f"{past}\n{tag}Content-Length: 0\n", b"")
        else:
            first = 0 if first >= 5000 else first
            range_ = f"Content-Range: bytes {first}-{end - 1}/*\nContent-Length: {end - first}\n"
            _send(wire, f"206 x\n{tag}{range_}", BODY[first:end])

    return script


def cut_chunks(request: Request, wire: Wire) -> None:
    """Cut a first response without a length, then send pieces of an unknown total."""
    if request.number == 0:
        _send(wire, f"200 OK\n{_TAG}Transfer-Encoding: chunked\n", chunked(BODY)[:2600])
    else:
        unknown_size(3, _TAG, "416 x")(request, wire)


def no_ranges(status: str) -> Script:
    """Cut the first response, and refuse every request for a range."""

    def script(request: Request, wire: Wire) -> None:
        if "range" in request.headers:
            _send(wire, f"{status} x\nContent-Length: 0\n", b"")
        else:
            body = BODY[:HALF] if request.number == 0 else BODY
            _send(wire, f"200 OK\n{_TAG}Content-Length: 5000\n", body)

    return script


RESUMES = [
    *(Case(f"no ranges: {status}", no_ranges(status)) for status in ("400", "403", "405", "412", "416", "501")),
    Case("no ranges: 404", no_ranges("404"), None),
    Case("unknown size: whole, then 416", unknown_size(1, _TAG, "416 x\nContent-Range: bytes */5000")),
    Case("unknown size: whole, then a bare 416", unknown_size(1, _TAG, "416 x")),
    Case("unknown size: whole, whatever is asked for", unknown_size(1, _TAG, "")),
    Case("unknown size: whole, of no version", unknown_size(1, "", "416 x")),
    Case("unknown size: in three pieces", unknown_size(3, _TAG, "416 x")),
    Case("unknown size: in three pieces of a dated version", unknown_size(3, _VALIDATORS["strong date"], "416 x")),
    Case("unknown size: chunks that are cut", cut_chunks),
    *(Case(f"resume: {name}", cut(validator, None)) for name, validator in _VALIDATORS.items()),
    *(Case(f"rest: {name}", cut(_TAG, rest)) for name, rest in _RESTS.items()),
    Case("rest: a 302 with a body", cut(_TAG, ("302 x\nContent-Length: 5\n", b"hello")), None),
    Case("rest: another ETag", replaced, NEW),
    *(
        Case(f"rest after a date: {name}", cut(_VALIDATORS["strong date"], _RESTS[name]))
        for name in ("proper", "whole")
    ),
    Case("rest: ranges of no version", cut("", _RESTS["proper"])),
]
