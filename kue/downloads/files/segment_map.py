"""The segments of a partial file, and the map beside it that holds their progress."""

from __future__ import annotations

import struct

from ..errors import PartChanged
from .partial import Part, boot_id

#: Smallest segment, and alignment of segment borders, bytes.
LEAST_BYTES, ALIGN_BYTES = 1024 * 1024, 64 * 1024
#: A segment's entry in the map: its bytes received.
COUNT = struct.Struct("<Q")


class Segment:
    """Bytes ``first`` to before ``end``; the first ``done`` of them are received."""

    def __init__(self, number: int, first: int, end: int, done: int = 0) -> None:
        self.number, self.first, self.end, self.done = number, first, end, done
        self.taken = False

    @property
    def position(self) -> int:
        """Position of the next byte."""
        return self.first + self.done

    @property
    def whole(self) -> bool:
        """Whether the segment is complete."""
        return self.position >= self.end


def plan(have: int, length: int, count: int) -> list[tuple[int, int]]:
    """Divide the bytes from ``have`` to ``length`` evenly; the first segment starts at 0 and includes ``have``."""
    count = max(1, min(count, (length - have) // LEAST_BYTES))
    size = (length - have) // count
    borders = [(have + size * n) // ALIGN_BYTES * ALIGN_BYTES for n in range(1, count)]
    edges = [0, *(border for border in borders if border > have), length]
    return list(zip(edges, edges[1:], strict=False))


def split(part: Part, have: int, count: int) -> None:
    """Turn a sequential partial file into a segmented one. Safe to be killed at any point."""
    state = part.state
    assert state is not None and state.length is not None
    cuts = plan(have, state.length, count)
    counts = [have] + [0] * (len(cuts) - 1)
    part.folder.replace(part.map, b"".join(map(COUNT.pack, counts)))
    state.segments, state.segments_synced, state.synced = cuts, [min(state.synced, have)] + counts[1:], 0
    part.save()


def load(part: Part) -> list[Segment]:
    """Return the segments of a partial file from its map."""
    state = part.state
    assert state is not None and state.segments is not None
    if state.boot == boot_id():
        content = part.folder.read(part.map) or b""
        counts = [COUNT.unpack_from(content, at)[0] for at in range(0, len(content) - 7, 8)]
    else:
        counts = list(state.segments_synced or [])
    if len(counts) != len(state.segments):
        raise PartChanged("the segment map is damaged")
    size = part.size
    found = []
    for number, ((first, end), done) in enumerate(zip(state.segments, counts, strict=True)):
        found.append(Segment(number, first, end, max(0, min(done, end - first, size - first))))
    return found


def save(part: Part, found: list[Segment]) -> None:
    """Write the map of ``found``; do this before the sidecar marks it as valid."""
    part.folder.replace(part.map, b"".join(COUNT.pack(segment.done) for segment in found))
