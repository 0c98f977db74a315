"""The messages between a worker and its children: length-prefixed JSON of any size.

JSON rather than pickle, so that a child with corrupted memory cannot make its parent execute code.

To the child     {"run": n, "id", "token", "fields", "started_at", "worker_id"}   an attempt
                 {"answer": seq, "value"} or {"answer": seq, "error", "text", "job_id"}
To the parent    {"ready": true}, or {"unusable": "why"}
                 {"ask": seq, "run": n, "what", "arguments"}                       a request, such as a line of the log
                 {"ended": n, "verb", "values"}, {"ended": n, "failure": [...], "spent": whether it is to be replaced},
                 {"ended": n, "verb": "stopped" or "lost"}
On the control pipe, before a SIGTERM: {"run": n, "interrupt": "JobTimeout", "text"} and a newline.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]

HEADER = struct.Struct("!Q")
#: A child's descriptors: messages, and the control pipe.
SOCKET_FD, CONTROL_FD = 3, 4
#: Largest message, bytes. A larger length means that the bytes read are not a header.
LENGTH_MAX = 2**40


def pack(message: Message) -> bytes:
    """Encode a message. JSON escapes can carry any text, including lone surrogates."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return HEADER.pack(len(body)) + body


class Unpacker:
    """Assembles messages from received bytes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the complete messages. Raises ValueError for malformed data."""
        self._data += data
        while len(self._data) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._data)
            if length > LENGTH_MAX:
                raise ValueError("not a message: the length is too large")
            end = HEADER.size + length
            if len(self._data) < end:
                return
            body = bytes(self._data[HEADER.size : end])
            del self._data[:end]
            message = json.loads(body)
            if not isinstance(message, dict):
                raise ValueError("not a message: the JSON is not an object")
            yield message
