"""The messages between a worker and its children: JSON behind its length, of any size.

JSON rather than pickle, so that a child with a damaged memory can make its parent execute nothing.

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
#: A longer message is none: what was read is no header. Bytes.
LENGTH_MAX = 2**40


def pack(message: Message) -> bytes:
    """Return a message as it is sent. JSON's escapes carry any text, also half a surrogate pair."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return HEADER.pack(len(body)) + body


class Unpacker:
    """Takes bytes as they come, and gives whole messages."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are whole now. Raises ValueError for what is no message."""
        self._data += data
        while len(self._data) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._data)
            if length > LENGTH_MAX:
                raise ValueError("no message, but other bytes")
            end = HEADER.size + length
            if len(self._data) < end:
                return
            body = bytes(self._data[HEADER.size : end])
            del self._data[:end]
            message = json.loads(body)
            if not isinstance(message, dict):
                raise ValueError("no message, but another value")
            yield message
