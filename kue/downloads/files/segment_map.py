"""Which bytes of a part are there, where several connections fetch it: its segments, and the map beside it."""

from __future__ import annotations

import struct

from ..errors import PartChanged
from .partial import Part, boot_id

#: Smallest segment, bytes; and to what their borders are rounded.
LEAST_BYTES, ALIGN_BYTES = 1024 * 1024, 64 * 1024
#: A segment's entry in the map: its bytes that are there.
COUNT = struct.Struct("<Q")


class Segment:
    """Bytes ``first`` to before ``end``; the first ``done`` of them are there."""

    def __init__(self, number: int, first: int, end: int, done: int = 0) -> None:
        self.number, self.first, self.end, self.done = number, first, end, done
        self.taken = False

    @property
    def position(self) -> int:
        """Where the next byte goes."""
        return self.first + self.done

    @property
    def whole(self) -> bool:
        """Whether all of it is there."""
        return self.position >= self.end


def plan(have: int, length: int, count: int) -> list[tuple[int, int]]:
    """Divide the bytes from ``have`` to ``length`` evenly; the first segment begins at 0 and holds what is there."""
    count = max(1, min(count, (length - have) // LEAST_BYTES))
    size = (length - have) // count
    borders = [(have + size * n) // ALIGN_BYTES * ALIGN_BYTES for n in range(1, count)]
    edges = [0, *(border for border in borders if border > have), length]
    return list(zip(edges, edges[1:], strict=False))


def split(part: Part, have: int, count: int) -> None:
    """Turn a part that grows byte by byte into one with segments. Safe to be killed at any point of it."""
    facts = part.facts
    assert facts is not None and facts.length is not None
    cuts = plan(have, facts.length, count)
    counts = [have] + [0] * (len(cuts) - 1)
    part.folder.replace(part.map, b"".join(map(COUNT.pack, counts)))
    facts.segments, facts.segments_synced, facts.synced = cuts, [min(facts.synced, have)] + counts[1:], 0
    part.save()


def load(part: Part) -> list[Segment]:
    """Return the segments of a part as its map has them."""
    facts = part.facts
    assert facts is not None and facts.segments is not None
    if facts.boot == boot_id():
        content = part.folder.read(part.map) or b""
        counts = [COUNT.unpack_from(content, at)[0] for at in range(0, len(content) - 7, 8)]
    else:
        counts = list(facts.segments_synced or [])
    if len(counts) != len(facts.segments):
        raise PartChanged("the map of what is here is damaged")
    size = part.size
    found = []
    for number, ((first, end), done) in enumerate(zip(facts.segments, counts, strict=True)):
        found.append(Segment(number, first, end, max(0, min(done, end - first, size - first))))
    return found


def save(part: Part, found: list[Segment]) -> None:
    """Write the map of ``found``, before the sidecar says that it may be believed again."""
    part.folder.replace(part.map, b"".join(COUNT.pack(segment.done) for segment in found))
