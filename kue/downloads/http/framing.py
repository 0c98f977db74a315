"""Where the body of a response ends, and what to make of headers that do not agree about it.

A connection carries one response and is then closed, so doubtful framing cannot mix up two responses, as it can in a
proxy. What browsers take is taken; a body that is known to be incomplete is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from .response_head import Head

#: Lengths beyond this are no lengths of files.
MAX_LENGTH = 2**63 - 1
#: Transfer codings that change the bytes, besides chunked.
TRANSFER_CODINGS = frozenset({"gzip", "x-gzip", "deflate", "compress", "x-compress"})
#: A number with what some servers write around it: a sign, quotes, decimals, a unit, parameters.
_LENGTH = re.compile(r"""["'+\s]*([0-9]+)(?:\.0*)?["']?\s*(?:bytes?|octets?|;.*)?""", re.IGNORECASE)


class Framing(NamedTuple):
    """``length``: size of the body, or None: chunks or the end of the connection mark its end.

    ``lengths``: contradictory sizes that the server declared; the body must have one of them. ``codings``: transfer
    codings that the bytes still have without the chunks. ``notes``: what is doubtful, for the log. ``problem``: why the
    body cannot be used.
    """

    chunked: bool = False
    length: int | None = None
    lengths: tuple[int, ...] = ()
    codings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str | None = None


def read_framing(head: Head) -> Framing:
    """Return how the body of a response is framed: Transfer-Encoding comes first (RFC 9112, 6.3)."""
    words = [_plain_word(word) for word in _values(head, "transfer-encoding")]
    uncertain = [word for word in words if "chunk" in word and word != "chunked"]
    if uncertain:
        return Framing(problem=f"an unsupported Transfer-Encoding: {uncertain[0][:40]!r}")
    notes = [f"a Transfer-Encoding that is none: {word[:40]!r}" for word in words if not _is_known(word)]
    codings = tuple(word for word in words if word in TRANSFER_CODINGS)
    if head.status in (204, 304):
        return Framing(length=0)
    if "chunked" in words:
        return _without_suspects(head, Framing(chunked=True, codings=codings, notes=tuple(notes)))
    if codings:
        return _without_suspects(head, Framing(codings=codings, notes=tuple(notes)))
    found, bad = _lengths(_values(head, "content-length"))
    notes += [f"an invalid Content-Length: {text[:40]!r}" for text in bad]
    if len(found) == 1:
        framing = Framing(length=found[0], notes=tuple(notes))
    else:
        shown = ", ".join(map(str, found))
        notes += [f"contradictory Content-Length headers: {shown[:80]}"] if found else []
        # Zero beside another length is a default that was not replaced.
        framing = Framing(lengths=tuple(length for length in found if length), notes=tuple(notes))
    return _without_suspects(head, framing)


def _values(head: Head, name: str) -> list[str]:
    return [value.strip() for value in (head.joined(name) or "").split(",") if value.strip()]


def _plain_word(text: str) -> str:
    """Return a transfer coding without parameters and quotes, lower case."""
    return text.partition(";")[0].strip().strip("\"'").lower()


def _is_known(word: str) -> bool:
    return word in TRANSFER_CODINGS or word in ("chunked", "identity", "")


def _lengths(values: Iterable[str]) -> tuple[tuple[int, ...], list[str]]:
    """Return the different lengths in the values of Content-Length, and the values that are none."""
    found: set[int] = set()
    bad = []
    for value in values:
        match = _LENGTH.fullmatch(value)
        number = int(match[1][:40]) if match else MAX_LENGTH + 1
        if number <= MAX_LENGTH:
            found.add(number)
        else:
            bad.append(value)
    return tuple(sorted(found)), bad


def _without_suspects(head: Head, framing: Framing) -> Framing:
    """Return ``framing``, with a problem if a malformed header line may have meant something else."""
    is_certain = framing.chunked or framing.length is not None
    for kind, line in head.suspects:
        if (
            kind == "transferencoding"
            or (kind == "contentlength" and not is_certain)
            or (kind == "contentrange" and head.status in (206, 416))
        ):
            return framing._replace(problem=f"a malformed header line that concerns the length of the body: {line}")
    return framing._replace(notes=(*framing.notes, *(f"a malformed header line: {line}" for _, line in head.suspects)))
