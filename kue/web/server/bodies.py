"""Bodies of unknown length, sent with ``Transfer-Encoding: chunked``: read to their end before anybody else sees them.

Whoever asks for a body then finds one with a length. It is never taken for an empty one.
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
        if not environ.get("wsgi.input_terminated") or environ.get("CONTENT_LENGTH"):
            return app(environ, start_response)
        most = limit(environ.get("PATH_INFO", ""))
        try:
            body = _read(environ["wsgi.input"], most)
        except (BadFraming, OSError) as exc:
            return _refuse(start_response, "400 Bad Request", f"the body cannot be read: {exc}")
        if len(body) > most:
            return _refuse(start_response, "413 Content Too Large", f"the body is too large: at most {most:,} bytes")
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        return app(environ, start_response)

    return around


def _read(stream: Any, most: int) -> bytes:
    body = bytearray()
    while len(body) <= most and (piece := stream.read(PIECE)):
        body += piece
    return bytes(body)


def _refuse(start_response: Any, status: str, why: str) -> Iterable[bytes]:
    answer = json.dumps({"error": why}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(answer))), ("Connection", "close")]
    start_response(status, headers)
    return [answer]
