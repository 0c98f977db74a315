"""One attempt of a download: resume or start, copy the body, verify it, rename the file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from . import finish, messages
from .addresses.urls import redact_url
from .errors import DownloadError, DownloadFailed, PartChanged
from .files import segment_map
from .files.digests import Hasher
from .files.disk_space import Disk
from .files.partial import Part, PartState
from .http.fetch import Source
from .http.ranges import broken_error, check_piece_size
from .http.response import Response
from .http.timeouts import ConnectionBroken
from .limits import DownloadLimits, SizeLimits
from .open_response import ResponseOpener
from .progress import Progress
from .request import DownloadRequest, Result
from .segments import SegmentedFetch

CHUNK_BYTES = 256 * 1024
#: Default number of connections, and the smallest file for which more than one is used.
SEGMENTS, SEGMENTS_FROM_BYTES = 4, 32 * 1024 * 1024


class Transfer:
    """One attempt. ``run`` returns the result or raises; partial file and sidecar are consistent either way."""

    def __init__(
        self,
        request: DownloadRequest,
        source: Source,
        part: Part,
        progress: Progress,
        limits: DownloadLimits,
        size_limits: SizeLimits,
        *,
        now: Callable[[], float] | None = time.time,
        exact_names: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.request, self.source, self.part, self.progress = request, source, part, progress
        self.limits, self.size_limits = limits, size_limits
        self._clock, self._began = clock, clock()
        self._disk = Disk(part, size_limits, clock)
        self._opener = ResponseOpener(
            request, source, part, progress, size_limits, self._disk, start=self._start, now=now,
            exact_names=exact_names,
        )  # fmt: skip
        self._hasher: Hasher | None = None
        self._resumed_from: int | None = None
        self._alone = False

    @property
    def _state(self) -> PartState:
        assert self.part.state is not None
        return self.part.state

    def run(self) -> Result:
        """Fetch the missing bytes, verify the whole file and rename it. Returns the job's result."""
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
                        url = redact_url(self.request.url)
                        raise DownloadError(f"Restarted twice in one attempt: {exc}", url=url) from None
                    self.progress.log(f"Starting over: {exc}")
                    self._forget()
                    # Some servers handle ranges wrongly and whole files well.
                    self._alone = True
        finally:
            self._close()

    # -- fetching

    def _fetch(self) -> int:
        """Fetch the missing bytes; return the size of the whole file."""
        while True:
            state, have = self.part.state, self.part.usable()
            if state is not None and state.segments is not None and state.result is None:
                return self._fetch_segments(None)
            if state is not None and have and have in (state.complete, state.length):
                self._start(have)
                return have
            response, position = self._opener.open(have)
            if response is None:
                return have
            try:
                if (connections := self._connections(response, position)) > 1:
                    segment_map.split(self.part, position, connections)
                    return self._fetch_segments(response)
                position = self._copy(response, position)
            finally:
                response.close()
            if self._is_end(response, position):
                self._state.complete = position
                self.part.save()
                return position
            # The server sent less than was requested, but as much as it announced: request the rest.
            check_piece_size(self.source, response)

    def _is_end(self, response: Response, position: int) -> bool:
        """Return whether the body that ended at ``position`` reached the end of the file."""
        state = self._state
        if state.length is not None:
            return position == state.length
        # A range of an unknown total may end anywhere: without a version, nothing more can be asked for.
        return response.is_whole or state.validator is None

    def _copy(self, response: Response, position: int) -> int:
        """Copy the body to the partial file at ``position``; return the position of its end."""
        buffer = memoryview(bytearray(CHUNK_BYTES))
        limits, progress, hasher, fd = self.limits, self.progress, self._hasher, self.part.fd
        assert hasher is not None

        def snapshot() -> Callable[[], None]:
            return self._keeper(position, hasher.state)

        try:
            while True:
                size = response.copy_to(fd, position, buffer[: limits.chunk_bytes(CHUNK_BYTES)])
                if size == 0:
                    return position
                position += size
                if position > self.size_limits.max_bytes:
                    self.part.discard()
                    raise DownloadFailed(
                        f"The file is larger than the limit of {messages.size(self.size_limits.max_bytes)}. "
                        "An operator can raise DOWNLOAD_MAX_BYTES",
                        url=response.url,
                    )
                hasher.reach(position)
                progress.advance(size)
                limits.throttle(size, progress.tick)
                self._disk.look(snapshot)
        except ConnectionBroken as exc:
            raise broken_error(exc, position, self.part.state, response) from None

    def _connections(self, response: Response, position: int) -> int:
        """Return how many connections to use for the file from ``position`` on."""
        state = self._state
        if self._alone or (state.length or 0) - position < 2 * segment_map.LEAST_BYTES:
            return 1
        if state.length is None or state.validator is None or state.coding or response.chunked:
            return 1
        if self.request.segments is not None:
            return self.request.segments
        ranges = response.takes_ranges or response.status == 206
        return SEGMENTS if ranges and state.length >= SEGMENTS_FROM_BYTES else 1

    def _fetch_segments(self, response: Response | None) -> int:
        state = self._state
        found = segment_map.load(self.part)
        have = sum(segment.done for segment in found)
        if response is None:
            if have == state.length:
                self._start(have)
                return have
            segment_map.save(self.part, found)
            self._opener.resume(state, have)
        else:
            self.progress.log(f"Fetching with {len(found)} connections")
        assert self._hasher is not None
        fetch = SegmentedFetch(
            self.source, self.part, self.progress, self.limits, self._disk, self._hasher, found
        )
        return fetch.run(response, self.request.segments or SEGMENTS, all_along=self.request.segments is not None)

    # -- start and finish

    def _start(self, have: int) -> None:
        """Count and hash from byte ``have`` on; called at the start of each response body."""
        if self._resumed_from is None or have == 0:
            self._resumed_from = have
        if self._hasher is None or have == 0:
            if self._hasher is not None:
                self._hasher.close()
            checkpoint = self._state.sha if have and self._state.segments is None else None
            self._hasher = Hasher(self.part.fd, {*self.request.digests, *self._state.digests}, checkpoint)
        self.progress.begin(have, self._state.length)

    def _finish(self, size: int) -> Result:
        assert self._hasher is not None
        seconds = max(self._clock() - self._began, 0.001)
        resumed_from = self._resumed_from or 0
        return finish.finish(self.request, self.part, self._hasher, self.progress, size, seconds, resumed_from)

    def _keeper(self, synced: int, checkpoint: tuple[int, str]) -> Callable[[], None]:
        state = self._state

        def keep() -> None:
            state.synced, state.sha = synced, checkpoint if checkpoint[0] else None

        return keep

    def _forget(self) -> None:
        self._close()
        os.ftruncate(self.part.fd, 0)
        self.part.state = None
        self.part.folder.remove(self.part.sidecar)
        self.part.folder.remove(self.part.map)

    def _close(self) -> None:
        if self._hasher is not None:
            self._hasher.close()
            self._hasher = None
        self._disk.close()
