"""Several connections for one file: each fetches a range of it into a file that has its full size from the start.

The caller's own (green) thread fetches too, and alone speaks to the job; the others only move bytes. How far each
segment is stands in a map beside the part, eight bytes a segment, written after the bytes themselves: a killed process
loses the chunks that were under way, nothing more.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from kue.concurrency import green

from .errors import DownloadError, PartChanged
from .files.digests import Hasher
from .files.disk_space import Disk
from .files.partial import Facts, Part
from .files.segment_map import COUNT, Segment
from .http import ranges
from .http.fetch import Source
from .http.response import Answer
from .http.watchdog import Cut
from .limits import DownloadLimits
from .progress import Progress

CHUNK_BYTES = 256 * 1024
#: Bytes that all connections together may have written and not yet noted in the map: a killed process loses them.
LOST_BYTES = 1024 * 1024
#: Connections help against waiting. If all together bring FAST_RATE bytes a second and keep the thread (under green
#: threads: the hub) busy for BUSY_SHARE of the time, one alone would do: more only make work, and bring the bytes out
#: of the order in which the digest takes them. Looked at after each LOOK_S seconds.
FAST_RATE, BUSY_SHARE, LOOK_S = 300_000_000, 0.5, 0.05
#: How long to wait for the other connections when a transfer ends early, seconds.
JOIN_S = 2.0


class _Stopped(Exception):
    """Another thread has ended the transfer."""


class _Enough(Exception):
    """The first connection alone is as fast as all of them."""


class _Look(NamedTuple):
    """The time, the bytes here, and the CPU seconds this thread has used."""

    at: float
    total: int
    cpu_s: float


class SegmentedFetch:
    """Fetches what is missing of a part with segments."""

    def __init__(
        self,
        source: Source,
        part: Part,
        progress: Progress,
        limits: DownloadLimits,
        disk: Disk,
        hasher: Hasher,
        segments: list[Segment],
    ) -> None:
        self._source, self._part, self._progress = source, part, progress
        self._limits, self._disk, self._hasher = limits, disk, hasher
        self._segments = segments
        self._lock = threading.Lock()
        self._stop = False
        self._errors: list[BaseException] = []
        self._helpers: list[threading.Thread] = []
        self._others = source.twin(self._check_helper)
        self._look: _Look | None = None
        self._enough = False
        self._chunk_bytes = CHUNK_BYTES

    @property
    def _facts(self) -> Facts:
        assert self._part.facts is not None
        return self._part.facts

    def run(self, answer: Answer | None, connections: int, all_along: bool) -> int:
        """Fetch all segments; return the size of the file.

        ``answer``, if given, is already positioned at the first segment's next byte. Unless ``all_along``, all
        connections but the first end again where they are of no use.
        """
        if not all_along:
            self._look = self._now()
        self._chunk_bytes = min(CHUNK_BYTES, LOST_BYTES // connections)
        try:
            self._presize()
            self._fetch(answer, connections)
        finally:
            self._stop = True
            # One that is still connecting finds out when it is through. Its descriptors are its own, and with them
            # it keeps the lock on the part for so long.
            until = time.monotonic() + JOIN_S
            for helper in self._helpers:
                helper.join(max(0.0, until - time.monotonic()))
        for error in self._errors:
            if isinstance(error, PartChanged):
                raise error
        if not all(segment.whole for segment in self._segments):
            raise next(
                (error for error in self._errors if not isinstance(error, _Stopped)),
                DownloadError("The server closed the connections too early"),
            )
        assert self._facts.length is not None
        return self._facts.length

    def _fetch(self, answer: Answer | None, connections: int) -> None:
        first = self._take()
        if first is None:
            return
        if answer is None:
            # Before the others start: is this still the same version?
            answer = self._ask(self._source, first)
            if answer is None:
                raise PartChanged("the file has changed on the server, or the server does not send parts of files")
        waiting = sum(not segment.whole for segment in self._segments)
        for _ in range(min(connections, waiting) - 1):
            helper = threading.Thread(target=self._help, daemon=True)
            self._helpers.append(helper)
            helper.start()
        mine: Segment | None = first
        failed = False
        while True:
            if mine is not None:
                try:
                    self._work(self._source, mine, answer, self._after_chunk)
                except (DownloadError, _Stopped) as exc:
                    self._errors.append(exc)  # the others may still bring it to an end
                    failed = True
            helped = any(helper.is_alive() for helper in self._helpers)
            mine, answer = None if failed else self._take(), None
            if mine is None:
                if not helped:
                    return
                green.sleep(0.02)
                self._after_chunk()

    def _help(self) -> None:
        try:
            segment = self._take()
            if segment is not None:
                self._work(self._others, segment, None, self._check_helper)
        except _Enough:
            pass
        except BaseException as exc:
            self._errors.append(exc)
            if isinstance(exc, PartChanged | OSError):
                self._stop = True

    def _work(self, source: Source, segment: Segment, answer: Answer | None, after: Callable[[], None]) -> None:
        """Fetch ``segment``, and then others that nobody has taken, until there are none."""
        buffer = memoryview(bytearray(self._chunk_bytes))
        current: Segment | None = segment
        files = os.dup(self._part.fd), self._part.folder.open(self._part.map, os.O_WRONLY)
        try:
            while current is not None:
                segment = current
                if answer is None:
                    answer = self._ask(source, segment)
                    if answer is None:
                        raise DownloadError("The server does not send parts of the file to a second connection")
                try:
                    self._copy(answer, segment, buffer, after, files)
                except Cut as exc:
                    raise ranges.cut_error(exc, self._total(), self._facts, answer) from None
                if not segment.whole:
                    ranges.worth_another(answer)
                    answer.close()
                    answer = None
                    continue
                current = self._take(after=segment)
                # A connection that was opened for the whole file can go on into the next segment.
                if current is not None and not (current.first == segment.end and not current.done and answer.to_end):
                    answer.close()
                    answer = None
        except BaseException:
            segment.taken = False
            raise
        finally:
            if answer is not None:
                answer.close()
            for fd in files:
                os.close(fd)

    def _ask(self, source: Source, segment: Segment) -> Answer | None:
        """Open a connection for the rest of a segment; None if the server answers with the whole file instead."""
        facts = self._facts
        headers = ranges.range_headers(facts, segment.position, segment.end)
        answer = source.open(headers, straight=source is self._others)
        problem = ranges.range_problem(answer, facts, segment.position, segment.end)
        if problem is None and answer.status == 206:
            return answer
        answer.close()
        if answer.status == 200 and answer.validator == facts.validator:
            return None
        raise PartChanged(problem or "the server's file is shorter than what is here")

    def _copy(
        self,
        answer: Answer,
        segment: Segment,
        buffer: memoryview,
        after: Callable[[], None],
        files: tuple[int, int],
    ) -> None:
        """Copy from ``answer`` to the part and note it in the map (``files``) until one of them ends."""
        limits = self._limits
        while not segment.whole:
            self._check()
            most = min(limits.chunk_bytes(self._chunk_bytes), segment.end - segment.position)
            size = answer.copy_to(files[0], segment.position, buffer[:most])
            if size == 0:
                return
            segment.done += size
            os.pwrite(files[1], COUNT.pack(segment.done), segment.number * COUNT.size)
            after()
            limits.throttle(size, after)

    def _take(self, after: Segment | None = None) -> Segment | None:
        """Take a segment that is not whole and that nobody has: the one behind ``after`` rather than another."""
        with self._lock:
            free = [segment for segment in self._segments if not segment.taken and not segment.whole]
            if not free or self._stop:
                return None
            chosen = next((s for s in free if after is not None and s.first == after.end), free[0])
            chosen.taken = True
            return chosen

    def _total(self) -> int:
        return sum(segment.done for segment in self._segments)

    def _check(self) -> None:
        if self._stop:
            raise _Stopped

    def _check_helper(self) -> None:
        self._check()
        if self._enough:
            raise _Enough

    def _now(self) -> _Look:
        return _Look(time.monotonic(), self._total(), time.thread_time())

    def _ease(self) -> None:
        """Let the other connections go if they are of no use."""
        before = self._look
        if before is None or self._enough or time.monotonic() - before.at < LOOK_S:
            return
        now = self._look = self._now()
        seconds = now.at - before.at
        if now.total - before.total >= FAST_RATE * seconds and now.cpu_s - before.cpu_s >= BUSY_SHARE * seconds:
            self._enough = True
            self._progress.log("Going on with one connection: more would not be faster")

    def _after_chunk(self) -> None:
        """What only the job's own thread does."""
        if self._stop:
            for error in self._errors:
                if isinstance(error, PartChanged | OSError):
                    raise error
        self._progress.reach(self._total())
        self._ease()
        frontier = 0
        for segment in self._segments:
            frontier = segment.position
            if not segment.whole:
                break
        self._hasher.reach(frontier)
        self._disk.look(self._snapshot)

    def _snapshot(self) -> Callable[[], None]:
        counts = [segment.done for segment in self._segments]

        def keep() -> None:
            self._facts.segments_synced = counts

        return keep

    def _presize(self) -> None:
        """Give the file its full size. It takes up only what is written to it, whatever a server says of its length."""
        if self._part.size != self._facts.length:
            os.ftruncate(self._part.fd, self._facts.length or 0)
