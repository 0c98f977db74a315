"""Request bodies, read completely before the request is handled.

So an incomplete request changes nothing, even if its body is not used. A body of unknown length, sent with
``Transfer-Encoding: chunked``, gets a length, and is never treated as empty.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import Any

from kue.web.server.framing import BadFraming

#: Number of bytes read at a time.
PIECE = 64 * 1024


def with_length(app: Callable[..., Iterable[bytes]], limit: Callable[[str], int]) -> Callable[..., Iterable[bytes]]:
    """Return a WSGI application that passes ``app`` each body with its length; ``limit(path)``: largest size, bytes."""

    def around(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        declared = environ.get("CONTENT_LENGTH") or ""
        if not declared.isdecimal() and not environ.get("wsgi.input_terminated"):
            return app(environ, start_response)  # no body
        most, length = limit(environ.get("PATH_INFO", "")), int(declared) if declared.isdecimal() else None
        try:
            body = _read(environ["wsgi.input"], most, length) if length is None or length <= most else None
        except (BadFraming, OSError) as exc:
            return _refuse(start_response, "400 Bad Request", f"cannot read the body: {exc}")
        if body is None or len(body) > most:
            why = f"the request body is too large; the limit is {most:,} bytes"
            return _refuse(start_response, "413 Content Too Large", why)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        return app(environ, start_response)

    return around


def _read(stream: Any, most: int, length: int | None) -> bytes:
    """Return the body, or just over ``most`` bytes of a larger one. Raises BadFraming if it is too short."""
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
