"""What a case is: a server's behavior, the URL to give to each program, and the file that should arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.downloads.hostile import Script, content

BODY = content(5000)


class Case(NamedTuple):
    """``file`` is what should arrive, or None if nothing may.

    ``url`` makes the URL from the server's ``http://host:port``. ``decoded``: the file of a program that unpacks
    it. ``refused`` says why this program takes no file although others do.
    """

    name: str
    script: Script
    file: bytes | None = BODY
    url: Callable[[str], str] = lambda server: f"{server}/file.bin"
    decoded: bytes | None = None
    refused: str | None = None

    @property
    def files(self) -> tuple[bytes | None, ...]:
        """The right files: as sent, or unpacked."""
        return self.file, self.decoded

    @property
    def kind(self) -> str:
        """What the name begins with."""
        return self.name.partition(":")[0]


def raw(head: str, body: bytes = BODY) -> Script:
    """Return a script that sends just these bytes. In ``head``, line feeds become CR LF, ``{N}`` the body's length."""
    sent = head.replace("{N}", str(len(body))).replace("\n", "\r\n").encode("latin-1") + body
    return lambda request, wire: wire.send(sent)


def chunked(data: bytes, size: int = 1000, line: bytes = b"%x") -> bytes:
    """Return ``data`` in chunks."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(line % len(piece) + b"\r\n" + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
