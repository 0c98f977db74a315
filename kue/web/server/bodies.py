"""Bodies of requests, read to their end before anything is done.

So a request that breaks off changes nothing, also where nobody wants its body. One of unknown length, sent with
``Transfer-Encoding: chunked``, gets its length, and is never taken for an empty one.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import Any

from kue.web.server.framing import BadFraming

#: Bytes that are read at a time.
PIECE = 64 * 1024


def with_length(app: Callable[..., Iterable[bytes]], limit: Callable[[str], int]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that gives ``app`` each body with its length; ``limit(path)`` is the largest, bytes."""

    def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        declared = environ.get("CONTENT_LENGTH") or ""
        if not declared.isdecimal() and not environ.get("wsgi.input_terminated"):
            return app(environ, start_response)  # there is none
        most, length = limit(environ.get("PATH_INFO", "")), int(declared) if declared.isdecimal() else None
        try:
            body = _read(environ["wsgi.input"], most, length) if length is None or length <= most else None
        except (BadFraming, OSError) as exc:
            return _refuse(start_response, "400 Bad Request", f"the body cannot be read: {exc}")
        if body is None or len(body) > most:
            return _refuse(start_response, "413 Content Too Large", f"the body is too large: at most {most:,} bytes")
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        return app(environ, start_response)

    return around


def _read(stream: Any, most: int, length: int | None) -> bytes:
    """Return the body, or more than ``most`` bytes of one that is larger. Raises BadFraming if it is too short."""
    body = bytearray()
    end = most + 1 if length is None else length
    while len(body) < end and (piece := stream.read(min(PIECE, end - len(body)))):
        body += piece
    if length is not None and len(body) < length:
        raise BadFraming("the body is shorter than its Content-Length")
    return bytes(body)


def _refuse(start_response: Any, status: str, why: str) -> Iterable[bytes]:
    answer = json.dumps({"error": why}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer))), ("Connection", "close")]
    start_response(status, headers)
    return [answer]
