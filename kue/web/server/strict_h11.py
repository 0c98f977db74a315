"""h11, the parser of the server for OS threads, made as strict about framing as framing.py."""

from __future__ import annotations

import re

import h11
from h11._receivebuffer import ReceiveBuffer

from kue.web.server.framing import CHUNK_LINE_MAX, BadFraming, check_head, chunk_size


class _StrictBuffer(ReceiveBuffer):
    """h11's receive buffer. It checks data before h11 parses it."""

    def __init__(self, connection: h11.Connection) -> None:
        super().__init__()
        self._connection = connection

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines of a head, or those after the last chunk."""
        before = bytes(self._data)
        lines = super().maybe_extract_lines()
        if lines and self._connection.their_state is h11.IDLE:
            head = before[: len(before) - len(self._data)].removesuffix(b"\r\n")
            first, *rest = re.findall(rb"[^\n]*\n", head)
            try:
                check_head(first, rest)
            except BadFraming as exc:
                raise h11.RemoteProtocolError(str(exc)) from exc
        return lines

    def maybe_extract_next_line(self) -> bytearray | None:
        """Return a chunk-size line."""
        line = super().maybe_extract_next_line()
        try:
            if line is not None:
                chunk_size(bytes(line))
            elif len(self._data) > CHUNK_LINE_MAX:
                raise BadFraming("a malformed chunk size")
        except BadFraming as exc:
            raise h11.RemoteProtocolError(str(exc)) from exc
        return line


def make_strict(connection: h11.Connection) -> None:
    """Make a new connection refuse ambiguous requests."""
    connection._receive_buffer = _StrictBuffer(connection)
