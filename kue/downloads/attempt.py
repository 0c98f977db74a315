"""One attempt at one file: resume or begin, copy, check, give it its name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from . import finish, messages
from .begin import Opening
from .errors import DownloadError, DownloadFailed, PartChanged
from .files import segment_map
from .files.digests import Hasher
from .files.disk_space import Disk
from .files.partial import Facts, Part
from .http.fetch import Source
from .http.ranges import cut_error, worth_another
from .http.response import Answer
from .http.urls import redact_url
from .http.watchdog import Cut
from .limits import DownloadLimits
from .progress import Progress
from .request import Bounds, Order, Result
from .segments import SegmentedFetch

CHUNK_BYTES = 256 * 1024
#: Connections for a file of at least this size, if the job does not say and the server has ranges.
SEGMENTS, SEGMENTS_FROM_BYTES = 4, 32 * 1024 * 1024


class Transfer:
    """One attempt. ``run`` returns the result or raises; part and sidecar are then as they should be."""

    def __init__(
        self,
        order: Order,
        source: Source,
        part: Part,
        progress: Progress,
        limits: DownloadLimits,
        bounds: Bounds,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.order, self.source, self.part, self.progress = order, source, part, progress
        self.limits, self.bounds = limits, bounds
        self._clock, self._began = clock, clock()
        self._disk = Disk(part, bounds, clock)
        self._opening = Opening(order, source, part, progress, bounds, self._disk, start=self._start, now=now)
        self._hasher: Hasher | None = None
        self._resumed_from: int | None = None
        self._alone = False

    @property
    def _facts(self) -> Facts:
        assert self.part.facts is not None
        return self.part.facts

    def run(self) -> Result:
        """Fetch what is missing, check all of it, name it."""
        done = finish.already_done(self.part, self.progress)
        if done is not None:
            return done
        fresh_starts = 0
        try:
            while True:
                try:
                    return self._finish(self._fetch())
                except PartChanged as exc:
                    fresh_starts += 1
                    if fresh_starts > 1:
                        raise DownloadError(f"Twice in one attempt {exc}", url=redact_url(self.order.url)) from None
                    self.progress.log(f"Starting over: {exc}")
                    self._forget()
                    # A server may handle parts of files wrongly and whole files well.
                    self._alone = True
        finally:
            self._close()

    # -- getting the bytes

    def _fetch(self) -> int:
        """Get the bytes that are missing; return the size of the whole."""
        while True:
            facts, have = self.part.facts, self.part.usable()
            if facts is not None and facts.segments is not None and facts.result is None:
                return self._fetch_segments(None)
            if facts is not None and have and have in (facts.complete, facts.length):
                self._start(have)
                return have
            answer, position = self._opening.open(have)
            if answer is None:
                return have
            try:
                if (connections := self._connections(answer, position)) > 1:
                    segment_map.split(self.part, position, connections)
                    return self._fetch_segments(answer)
                position = self._copy(answer, position)
            finally:
                answer.close()
            if self._facts.length is None or position == self._facts.length:
                self._facts.complete = position
                self.part.save()
                return position
            # The server gave less than was asked for, but as much as it said: ask for the rest.
            worth_another(answer)

    def _copy(self, answer: Answer, position: int) -> int:
        """Copy the body to the part from byte ``position``; return where it ends."""
        buffer = memoryview(bytearray(CHUNK_BYTES))
        limits, progress, hasher, fd = self.limits, self.progress, self._hasher, self.part.fd
        assert hasher is not None

        def snapshot() -> Callable[[], None]:
            return self._keeper(position, hasher.state)

        try:
            while True:
                size = answer.copy_to(fd, position, buffer[: limits.chunk_bytes(CHUNK_BYTES)])
                if size == 0:
                    return position
                position += size
                if position > self.bounds.max_bytes:
                    self.part.discard()
                    raise DownloadFailed(
                        f"The file is too big: more than {messages.size(self.bounds.max_bytes)}", url=answer.url
                    )
                hasher.reach(position)
                progress.advance(size)
                limits.throttle(size, progress.tick)
                self._disk.look(snapshot)
        except Cut as exc:
            raise cut_error(exc, position, self.part.facts, answer) from None

    def _connections(self, answer: Answer, position: int) -> int:
        """Return how many connections the rest of the file from ``position`` on is worth."""
        facts = self._facts
        if self._alone or (facts.length or 0) - position < 2 * segment_map.LEAST_BYTES:
            return 1
        if facts.length is None or facts.validator is None or facts.coding or answer.chunked:
            return 1
        if self.order.segments is not None:
            return self.order.segments
        ranges = answer.takes_ranges or answer.status == 206
        return SEGMENTS if ranges and facts.length >= SEGMENTS_FROM_BYTES else 1

    def _fetch_segments(self, answer: Answer | None) -> int:
        facts = self._facts
        found = segment_map.load(self.part)
        have = sum(segment.done for segment in found)
        if answer is None:
            if have == facts.length:
                self._start(have)
                return have
            segment_map.save(self.part, found)
            self._opening.resume(facts, have)
        else:
            self.progress.log(f"Fetching with {len(found)} connections")
        assert self._hasher is not None
        fetch = SegmentedFetch(
            self.source, self.part, self.progress, self.limits, self._disk, self._hasher, found
        )
        return fetch.run(answer, self.order.segments or SEGMENTS, all_along=self.order.segments is not None)

    # -- beginnings and ends

    def _start(self, have: int) -> None:
        """Count and hash from ``have``, at the beginning of each request for the rest of the file."""
        if self._resumed_from is None or have == 0:
            self._resumed_from = have
        if self._hasher is None or have == 0:
            if self._hasher is not None:
                self._hasher.close()
            checkpoint = self._facts.sha if have and self._facts.segments is None else None
            self._hasher = Hasher(self.part.fd, self.order.digests, checkpoint)
        self.progress.begin(have, self._facts.length)

    def _finish(self, size: int) -> Result:
        assert self._hasher is not None
        seconds = max(self._clock() - self._began, 0.001)
        return finish.finish(self.order, self.part, self._hasher, self.progress, size, seconds, self._resumed_from or 0)

    def _keeper(self, synced: int, state: tuple[int, str]) -> Callable[[], None]:
        facts = self._facts

        def keep() -> None:
            facts.synced, facts.sha = synced, state if state[0] else None

        return keep

    def _forget(self) -> None:
        self._close()
        os.ftruncate(self.part.fd, 0)
        self.part.facts = None
        self.part.folder.remove(self.part.sidecar)
        self.part.folder.remove(self.part.map)

    def _close(self) -> None:
        if self._hasher is not None:
            self._hasher.close()
            self._hasher = None
        self._disk.close()
