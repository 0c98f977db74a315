"""One attempt at one file: resume or begin, copy, check, give it its name."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable

from . import naming, offload, segments, words
from .answer import Answer
from .connection import Cut
from .disk import Disk, write_all
from .errors import DownloadError, DownloadFailed, PartChanged, Paused
from .fetch import Source
from .hashing import Hasher
from .limits import DownloadLimits
from .order import Bounds, Order, Result
from .progress import Progress
from .ranges import cut_error, range_headers, range_problem, worth_another
from .sidecar import Facts, Part, boot_id
from .urls import redact_url

CHUNK_BYTES = 256 * 1024
#: Connections for a file of at least this size, if the job does not say and the server has ranges.
SEGMENTS, SEGMENTS_FROM_BYTES = 4, 32 * 1024 * 1024
#: More connections are opened only for a file that one alone would need longer for, seconds; and after how long that is
#: first looked at. On a fast line they would only make work.
WORTH_S, FIRST_LOOK_S = 1.5, 0.25
#: Added to the name of a file whose digest is wrong.
QUARANTINE = ".quarantine"


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
        self._now, self._clock = now, clock
        self._began = clock()
        self._disk = Disk(part, bounds.min_free, clock)
        self._hasher: Hasher | None = None
        self._resumed_from: int | None = None
        self._alone = False

    def run(self) -> Result:
        """Fetch what is missing, check all of it, name it."""
        done = self._already_done()
        if done is not None:
            return done
        fresh_starts = 0
        try:
            while True:
                try:
                    return self._finish(self._fetch())
                except Paused:
                    self.progress.log(f"Paused at {words.size(self.progress.bytes)}")
                    self.progress.wait_while_held()
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
                self._start(have, facts.sha)
                return have
            answer, position = self._open(have)
            if answer is None:
                return have
            try:
                position = self._copy(answer, position)
                facts = self.part.facts
                assert facts is not None
                if facts.segments is not None:
                    return self._fetch_segments(answer)
            finally:
                answer.close()
            if facts.length is None or position == facts.length:
                facts.complete = position
                self.part.save()
                return position
            # The server gave less than was asked for, but as much as it said: ask for the rest.
            worth_another(answer)

    def _open(self, have: int) -> tuple[Answer | None, int]:
        """Ask for the file from ``have`` on; return the answer and the byte that it begins at.

        No answer: the server says that nothing is missing.
        """
        facts = self.part.facts
        if have and facts is not None:
            if facts.validator is None:
                self.progress.log("Starting over: the server gives nothing to tell one version of the file by")
            else:
                answer = self.source.open(range_headers(facts, have))
                problem = range_problem(answer, facts, have)
                if problem is None:
                    self._resume(facts, have)
                    if answer.status == 206:
                        return answer, have
                    answer.close()
                    facts.complete = have
                    self.part.save()
                    return None, have
                self.progress.log(f"Starting over: {problem}")
                if answer.status == 200:
                    return self._begin(answer), 0
                answer.close()
        return self._begin(self.source.open()), 0

    def _begin(self, answer: Answer) -> Answer:
        """Start at byte 0 of ``answer``: check its headers, write the sidecar."""
        try:
            if answer.status != 200:
                raise DownloadFailed(f"{answer.host} answered {words.status(answer.status)} to a plain request")
            if answer.length is not None and answer.length > self.bounds.max_bytes:
                raise self._too_big(answer.length)
            self.part.restart(self._facts(answer))
            self._disk.need_room(answer.length or 0)
            self._start(0, None)
        except BaseException as exc:
            answer.close()
            if isinstance(exc, DownloadError):
                exc.url, exc.status = answer.url, answer.status
            raise
        if answer.length is None and not answer.chunked:
            self.progress.log("The server does not say how long the file is, so a cut connection may go unnoticed")
        return answer

    def _facts(self, answer: Answer) -> Facts:
        content_type = answer.header("Content-Type")
        name = naming.choose_name(self.order.filename, answer.header("Content-Disposition"), answer.url, content_type)
        coding = answer.coding
        if coding is not None:
            if coding not in ("gzip", "x-gzip"):
                raise DownloadFailed(f"{answer.host} sent the file encoded ({coding[:40]}) although asked not to")
            # Stored as it came, and called what it is. Unpacking is what a bomb waits for.
            if not re.search(r"(?i)\.(gz|tgz|gzip)$", name):
                name += ".gz"
                self.progress.log("The server sent the file compressed although asked not to; it is kept so, as .gz")
        return Facts(
            url=redact_url(self.order.url),
            final_url=answer.url,
            validator=answer.validator,
            length=answer.length,
            name=naming.final_name(name, self.order.job_id, self._now()),
            content_type="".join(filter(str.isprintable, content_type))[:200] if content_type else None,
            coding=coding,
            redirects=answer.redirects,
            boot=boot_id(),
        )

    def _too_big(self, length: int) -> DownloadFailed:
        most = words.size(self.bounds.max_bytes)
        return DownloadFailed(f"The file is too big: {words.size(length)}, and at most {most} may be downloaded")

    def _resume(self, facts: Facts, have: int) -> None:
        where = words.size_of(have, facts.length) if facts.length else words.size(have)
        self.progress.log(f"Going on at {where}")
        if (facts.length or 0) > self.bounds.max_bytes:
            raise self._too_big(facts.length or 0)
        on_disk = os.fstat(self.part.fd).st_blocks * 512
        self._disk.need_room(max(0, (facts.length or 0) - on_disk))
        if facts.segments is None and have < self.part.size:
            os.ftruncate(self.part.fd, have)
        facts.boot = boot_id()
        self.part.save()
        self._start(have, facts.sha)

    def _copy(self, answer: Answer, position: int) -> int:
        """Copy the body to the part from byte ``position``; return where it ends.

        Returns before the end, with segments in the sidecar, if more connections are worth it.
        """
        buffer = memoryview(bytearray(CHUNK_BYTES))
        limits, progress, hasher, fd = self.limits, self.progress, self._hasher, self.part.fd
        assert hasher is not None
        most = self._connections(answer)
        look_at = self._clock() + (FIRST_LOOK_S if self.order.segments is None else 0)
        begun, began = position, self._clock()

        def snapshot() -> Callable[[], None]:
            return self._keeper(position, hasher.state)

        try:
            while True:
                if most > 1 and self._clock() >= look_at:
                    look_at = self._clock() + FIRST_LOOK_S
                    if self._is_worth_more(position, position - begun, self._clock() - began):
                        segments.split(self.part, position, most)
                        return position
                size = answer.read_into(buffer[: limits.chunk_bytes(CHUNK_BYTES)])
                if size == 0:
                    return position
                write_all(fd, buffer[:size], position)
                position += size
                if position > self.bounds.max_bytes:
                    self.part.discard()
                    raise DownloadFailed(
                        f"The file is too big: more than {words.size(self.bounds.max_bytes)}", url=answer.url
                    )
                hasher.reach(position)
                progress.advance(size)
                limits.throttle(size, progress.tick)
                self._disk.look(snapshot)
        except Cut as exc:
            raise cut_error(exc, position, self.part.facts, answer) from None

    # -- several connections

    def _connections(self, answer: Answer) -> int:
        """Return how many connections this file may be fetched with."""
        facts = self.part.facts
        assert facts is not None
        if self._alone or facts.length is None or facts.validator is None or facts.coding or answer.chunked:
            return 1
        if self.order.segments is not None:
            return self.order.segments
        ranges = answer.takes_ranges or answer.status == 206
        return SEGMENTS if ranges and facts.length >= SEGMENTS_FROM_BYTES else 1

    def _is_worth_more(self, position: int, fetched: int, seconds: float) -> bool:
        facts = self.part.facts
        assert facts is not None and facts.length is not None
        left = facts.length - position
        if left < 2 * segments.LEAST_BYTES:
            return False
        if self.order.segments is not None:
            return True
        rate = fetched / max(seconds, 0.001)
        own = self.limits.rate
        if own is not None and rate > own / 2:
            return False  # it is our own limit that holds it up
        return left > WORTH_S * rate

    def _fetch_segments(self, answer: Answer | None) -> int:
        facts = self.part.facts
        assert facts is not None
        try:
            found = segments.load(self.part)
            have = sum(segment.done for segment in found)
            if answer is None:
                if have == facts.length:
                    self._start(have, None)
                    return have
                segments.save(self.part, found)
                self._resume(facts, have)
            else:
                self.progress.log(f"Fetching with {len(found)} connections")
            assert self._hasher is not None
            fetch = segments.SegmentedFetch(
                self.source, self.part, self.progress, self.limits, self._disk, self._hasher, found
            )
            return fetch.run(answer, self.order.segments or SEGMENTS)
        finally:
            if answer is not None:
                answer.close()

    # -- beginnings and ends

    def _start(self, have: int, checkpoint: tuple[int, str] | None) -> None:
        """Count and hash from ``have``, at the beginning of each request for the rest of the file."""
        facts = self.part.facts
        assert facts is not None
        if self._resumed_from is None or have == 0:
            self._resumed_from = have
        if self._hasher is None or have == 0:
            if self._hasher is not None:
                self._hasher.close()
            self._hasher = Hasher(self.part.fd, self.order.digests, checkpoint)
        self.progress.begin(have, facts.length)

    def _keeper(self, synced: int, state: tuple[int, str]) -> Callable[[], None]:
        facts = self.part.facts
        assert facts is not None

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

    def _finish(self, size: int) -> Result:
        facts, hasher = self.part.facts, self._hasher
        assert facts is not None and hasher is not None
        digests = hasher.finish(size, self.progress.tick)
        if self.part.size != size:
            raise PartChanged("the file on disk has another size than what was written to it")
        for algorithm, wanted in self.order.digests.items():
            if digests[algorithm] != wanted:
                kept = self.part.folder.publish(self.part.name, self.part.fd, facts.name + QUARANTINE)
                self.part.discard()
                raise DownloadFailed(
                    f"The file is not the one asked for: its {algorithm} is {digests[algorithm]}, not {wanted}. "
                    f"It is kept as {kept}",
                    url=facts.final_url,
                )
        offload.run(os.fsync, self.part.fd)
        name = self.part.folder.publish(self.part.name, self.part.fd, facts.name)
        seconds = max(self._clock() - self._began, 0.001)
        result: Result = {
            "file": name,
            "bytes": size,
            "sha256": digests["sha256"],
            "url": facts.final_url,
            "content_type": facts.content_type,
            "content_encoding": facts.coding,
            "seconds": round(seconds, 3),
            "rate": int(self.progress.fetched / seconds),
            "redirects": facts.redirects,
            "resumed_from": self._resumed_from or 0,
        }
        if "md5" in digests:
            result["md5"] = digests["md5"]
        if "sha1" in digests:
            result["sha1"] = digests["sha1"]
        # The sidecar stays a while: an attempt whose acknowledgement was lost finds its file instead of making another.
        facts.result = dict(result)
        self.part.save()
        self.part.folder.remove(self.part.name)
        self.part.folder.remove(self.part.map)
        self.part.folder.sync()
        return result

    def _already_done(self) -> Result | None:
        """Return the result of an earlier attempt that finished the file but could not say so."""
        facts = self.part.facts
        if facts is None or facts.result is None:
            return None
        file = facts.result.get("file")
        found = self.part.folder.stat(file) if isinstance(file, str) and file == os.path.basename(file) else None
        if found is None or found.st_size != facts.result.get("bytes"):
            self.part.facts = None
            return None
        self.part.folder.remove(self.part.name)
        self.progress.log("An earlier attempt had already finished the file")
        return facts.result  # type: ignore[return-value]
