"""Fetch one file over several connections: each fetches ranges into a file that has its full size from the start.

The caller's own (green) thread fetches too, and only that thread calls the job. A map beside the partial file holds the
progress of each segment, eight bytes a segment, written after the data: a killed process loses only chunks in flight.
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
from .files.partial import Part, PartState
from .files.segment_map import COUNT, Segment
from .http import ranges
from .http.fetch import Source
from .http.response import Response
from .http.timeouts import ConnectionBroken
from .limits import DownloadLimits
from .progress import Progress

CHUNK_BYTES = 256 * 1024
#: Bytes that all connections together may have written but not yet recorded in the map: a killed process loses them.
LOST_BYTES = 1024 * 1024
#: More connections help only while they wait. If together they reach FAST_RATE bytes per second and keep the thread
#: (with eventlet: the hub) busy for BUSY_SHARE of the time, one is enough, and the digest can read in sequence.
#: Measured every LOOK_S seconds.
FAST_RATE, BUSY_SHARE, LOOK_S = 300_000_000, 0.5, 0.05
#: How long to wait for the other connections when a transfer ends early, seconds.
JOIN_S = 2.0


class _Stopped(Exception):
    """Another thread has ended the transfer."""


class _OneIsEnough(Exception):
    """One connection is as fast as all of them."""


class _Sample(NamedTuple):
    """Time, bytes received, and CPU seconds used by this thread."""

    at: float
    total: int
    cpu_s: float


class SegmentedFetch:
    """Fetch the missing bytes of a segmented partial file."""

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
        self._others = source.for_thread(self._check_helper)
        self._sample: _Sample | None = None
        self._one_is_enough = False
        self._chunk_bytes = CHUNK_BYTES

    @property
    def _state(self) -> PartState:
        assert self._part.state is not None
        return self._part.state

    def run(self, response: Response | None, connections: int, all_along: bool) -> int:
        """Fetch all segments; return the size of the file.

        ``response``, if given, is already positioned at the first segment's next byte. Unless ``all_along``, extra
        connections are closed if they do not make the download faster.
        """
        if not all_along:
            self._sample = self._now()
        self._chunk_bytes = min(CHUNK_BYTES, LOST_BYTES // connections)
        try:
            self._presize()
            self._fetch(response, connections)
        finally:
            self._stop = True
            # A helper that is still connecting notices later; its own descriptors hold the lock until then.
            until = time.monotonic() + JOIN_S
            for helper in self._helpers:
                helper.join(max(0.0, until - time.monotonic()))
        for error in self._errors:
            if isinstance(error, PartChanged):
                raise error
        if not all(segment.whole for segment in self._segments):
            raise next(
                (error for error in self._errors if not isinstance(error, _Stopped)),
                DownloadError("The server closed all connections before the end of the file"),
            )
        assert self._state.length is not None
        return self._state.length

    def _fetch(self, response: Response | None, connections: int) -> None:
        first = self._take()
        if first is None:
            return
        if response is None:
            # Check the version before the others start.
            response = self._ask(self._source, first)
            if response is None:
                raise PartChanged("the file changed on the server, or the server stopped supporting range requests")
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
                    self._work(self._source, mine, response, self._after_chunk)
                except (DownloadError, _Stopped) as exc:
                    self._errors.append(exc)  # the other connections may still finish
                    failed = True
            helped = any(helper.is_alive() for helper in self._helpers)
            mine, response = None if failed else self._take(), None
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
        except _OneIsEnough:
            pass
        except PartChanged as exc:
            # Perhaps the server answers one connection too many with another page: the first one knows its version.
            self._errors.append(DownloadError(f"An additional connection was of no use: {exc}"))
        except BaseException as exc:
            self._errors.append(exc)
            if isinstance(exc, OSError):
                self._stop = True

    def _work(self, source: Source, segment: Segment, response: Response | None, after: Callable[[], None]) -> None:
        """Fetch ``segment``, then other free segments until there are none."""
        buffer = memoryview(bytearray(self._chunk_bytes))
        current: Segment | None = segment
        files = os.dup(self._part.fd), self._part.folder.open(self._part.map, os.O_WRONLY)
        try:
            while current is not None:
                segment = current
                if response is None:
                    response = self._ask(source, segment)
                    if response is None:
                        raise DownloadError("The server ignored the range request of an additional connection")
                try:
                    self._copy(response, segment, buffer, after, files)
                except ConnectionBroken as exc:
                    raise ranges.broken_error(exc, self._total(), self._state, response) from None
                if not segment.whole:
                    ranges.check_piece_size(source, response)
                    response.close()
                    response = None
                    continue
                current = self._take(after=segment)
                # A connection that was opened for the whole file can continue into the next segment.
                if current is not None and not (current.first == segment.end and not current.done and response.to_end):
                    response.close()
                    response = None
        except BaseException:
            segment.taken = False
            raise
        finally:
            if response is not None:
                response.close()
            for fd in files:
                os.close(fd)

    def _ask(self, source: Source, segment: Segment) -> Response | None:
        """Request the rest of a segment; return None if the server sends the whole file instead."""
        state = self._state
        response = ranges.open_range(
            source, state, segment.position, segment.end, from_final=source is self._others
        )
        problem = ranges.range_mismatch(
            response, state, segment.position, segment.end, is_conditional=source.range_style < 2
        )
        if problem is None and response.status == 206:
            return response
        response.close()
        if response.is_whole and response.validator == state.validator:
            return None
        raise PartChanged(problem or "the file on the server is now shorter than the part already downloaded")

    def _copy(
        self,
        response: Response,
        segment: Segment,
        buffer: memoryview,
        after: Callable[[], None],
        files: tuple[int, int],
    ) -> None:
        """Copy from ``response`` to the partial file and the map (``files``) until the segment or the body ends."""
        limits = self._limits
        while not segment.whole:
            self._check()
            most = min(limits.chunk_bytes(self._chunk_bytes), segment.end - segment.position)
            size = response.copy_to(files[0], segment.position, buffer[:most])
            if size == 0:
                return
            segment.done += size
            os.pwrite(files[1], COUNT.pack(segment.done), segment.number * COUNT.size)
            after()
            limits.throttle(size, after)

    def _take(self, after: Segment | None = None) -> Segment | None:
        """Take a free, unfinished segment, preferably the one behind ``after``."""
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
        if self._one_is_enough:
            raise _OneIsEnough

    def _now(self) -> _Sample:
        return _Sample(time.monotonic(), self._total(), time.thread_time())

    def _ease(self) -> None:
        """Close the additional connections if they do not make the download faster."""
        before = self._sample
        if before is None or self._one_is_enough or time.monotonic() - before.at < LOOK_S:
            return
        now = self._sample = self._now()
        seconds = now.at - before.at
        if now.total - before.total >= FAST_RATE * seconds and now.cpu_s - before.cpu_s >= BUSY_SHARE * seconds:
            self._one_is_enough = True
            self._progress.log("Continuing with one connection: more would not be faster")

    def _after_chunk(self) -> None:
        """Report progress, hash, and check the disk; only the job's own thread calls this."""
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
            self._state.segments_synced = counts

        return keep

    def _presize(self) -> None:
        """Set the file to its full size. It is sparse: only written blocks take up space."""
        if self._part.size != self._state.length:
            os.ftruncate(self._part.fd, self._state.length or 0)
