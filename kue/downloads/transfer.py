"""One attempt at one file: resume or begin, copy, check, give it its name."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from . import naming, offload, words
from .answer import Answer
from .connection import Cut
from .errors import DownloadError, DownloadFailed, DownloadPostponed, PartChanged
from .fetch import Source
from .hashing import Hasher
from .limits import DownloadLimits
from .progress import Progress
from .sidecar import Facts, Part, boot_id
from .urls import redact_url

CHUNK_BYTES = 256 * 1024
#: Time between two looks at the free space, and between two times that bytes are pushed to the disk, seconds.
SPACE_S, SYNC_S = 1.0, 5.0
#: How long a job waits for room on the disk before the next attempt, ms.
NO_ROOM_MS = 60_000
#: Added to a file whose digest is wrong.
QUARANTINE = ".quarantine"


class Result(TypedDict, total=False):
    """What a finished job has as its result."""

    file: str
    "Name of the file in the folder."
    bytes: int
    "Its size."
    sha256: str
    md5: str
    sha1: str
    "Digests, hexadecimal; md5 and sha1 only if the job gave them."
    url: str
    "Where it came from in the end, without credentials."
    content_type: str | None
    "As the server gave it."
    content_encoding: str | None
    "Set if the bytes are stored as the server encoded them."
    seconds: float
    "Length of the last attempt."
    rate: int
    "Its bytes a second."
    redirects: int
    "Hops from the job's URL to the final one."
    resumed_from: int
    "Bytes that earlier attempts had left."


@dataclass(frozen=True)
class Order:
    """What a job asks for, checked."""

    job_id: Any
    url: str
    filename: str | None
    digests: dict[str, str]
    segments: int | None

    @classmethod
    def read(cls, job_id: object, data: object) -> Order:
        """Read a job's data. Raises DownloadFailed with a sentence that says what to write instead."""
        if not isinstance(data, dict):
            raise DownloadFailed('The job\'s data must be an object with a "url"')
        url, filename, segments = data.get("url"), data.get("filename"), data.get("segments")
        if not isinstance(url, str) or not url.strip():
            raise DownloadFailed('The job\'s data has no "url"')
        if filename is not None and not isinstance(filename, str):
            raise DownloadFailed('"filename" must be text')
        if segments is not None and (type(segments) is not int or not 1 <= segments <= 16):
            raise DownloadFailed('"segments" must be a whole number from 1 to 16')
        digests = {}
        for algorithm, length in (("sha256", 64), ("sha1", 40), ("md5", 32)):
            wanted = data.get(algorithm)
            if wanted is None or wanted == "":
                continue
            if not isinstance(wanted, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", wanted.strip()):
                raise DownloadFailed(f'"{algorithm}" must be {length} hexadecimal digits')
            digests[algorithm] = wanted.strip().lower()
        return cls(job_id, url.strip(), filename, digests, segments)


@dataclass(frozen=True)
class Bounds:
    """How big a file may be, and how much room must stay free; bytes."""

    max_bytes: int
    min_free: int


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
        self._space_due = 0.0
        self._sync_due = clock() + SYNC_S
        self._syncing: tuple[int, tuple[int, str], offload.Offloaded[None]] | None = None
        self._hasher: Hasher | None = None
        self._resumed_from: int | None = None

    def run(self) -> Result:
        """Fetch what is missing, check all of it, name it."""
        done = self._already_done()
        if done is not None:
            return done
        try:
            for _ in range(2):
                try:
                    return self._finish(self._fetch())
                except PartChanged as exc:
                    self.progress.log(f"Starting over: {exc}")
                    self._forget()
            raise DownloadError("The file on disk changes while it is being written", url=redact_url(self.order.url))
        finally:
            self._close()

    # -- getting the bytes

    def _fetch(self) -> int:
        """Get the bytes that are missing; return the size of the whole."""
        while True:
            facts, have = self.part.facts, self.part.usable()
            if facts is not None and have and have in (facts.complete, facts.length):
                self._note_start(have)
                self._hash_from(facts.sha)
                return have
            answer, start = self._open(have)
            if answer is None:
                return start
            try:
                end = self._copy(answer, start)
            finally:
                answer.close()
            facts = self.part.facts
            assert facts is not None
            if facts.length is None or end == facts.length:
                facts.complete = end
                self.part.save()
                return end
            # The server gave less than was asked for, but as much as it said: ask for the rest.

    def _open(self, have: int) -> tuple[Answer | None, int]:
        """Ask for the file from ``have`` on; return the answer and the byte that it begins at.

        No answer: the server says that nothing is missing.
        """
        facts = self.part.facts
        if have and facts is not None:
            if facts.validator is None:
                self.progress.log("Starting over: the server gives nothing to tell one version of the file by")
            else:
                answer = self.source.open({"Range": f"bytes={have}-", "If-Range": facts.validator})
                problem = range_problem(answer, facts, have)
                if problem is None:
                    self._resume(facts, have)
                    if answer.status == 416:
                        answer.close()
                        facts.complete = have
                        self.part.save()
                        return None, have
                    return answer, have
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
                raise DownloadFailed(
                    f"The file is too big: {words.size(answer.length)}, and at most "
                    f"{words.size(self.bounds.max_bytes)} may be downloaded"
                )
            facts = self._facts(answer)
            self.part.restart(facts)
            self._need_room(answer.length or 0)
        except DownloadError as exc:
            answer.close()
            exc.url, exc.status = answer.url, answer.status
            raise
        except BaseException:
            answer.close()
            raise
        self._note_start(0)
        self._hash_from(None)
        self.progress.begin(0, answer.length)
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

    def _resume(self, facts: Facts, have: int) -> None:
        where = words.size_of(have, facts.length) if facts.length else words.size(have)
        self.progress.log(f"Going on at {where}")
        if have < self.part.size:
            os.ftruncate(self.part.fd, have)
        facts.boot = boot_id()
        self.part.save()
        self._note_start(have)
        if self._hasher is None:
            self._hash_from(facts.sha)
        self.progress.begin(have, facts.length)

    def _copy(self, answer: Answer, start: int) -> int:
        """Copy the body to the part from byte ``start``; return where it ends."""
        position, buffer = start, memoryview(bytearray(CHUNK_BYTES))
        limits, progress, hasher, fd = self.limits, self.progress, self._hasher, self.part.fd
        assert hasher is not None
        try:
            while size := answer.read_into(buffer[: limits.chunk_bytes(CHUNK_BYTES)]):
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
                self._upkeep(position)
        except Cut as exc:
            raise cut_error(exc, position, self.part.facts, answer) from None
        return position

    # -- looking after disk and sidecar

    def _need_room(self, missing: int) -> None:
        free = self.part.folder.free_bytes()
        if free - missing < self.bounds.min_free:
            raise DownloadPostponed(
                NO_ROOM_MS,
                f"Waiting for room on the disk: {words.size(free)} are free, {words.size(missing)} are needed and "
                f"{words.size(self.bounds.min_free)} must stay free",
            )

    def _upkeep(self, position: int) -> None:
        now = self._clock()
        if now < self._space_due:
            return
        self._space_due = now + SPACE_S
        self._need_room(0)
        if self._syncing is not None:
            synced, state, task = self._syncing
            if task.done:
                self._syncing = None
                task.result()
                facts = self.part.facts
                assert facts is not None
                facts.synced = synced
                facts.sha = state if state[0] else None
                self.part.save()
        elif now >= self._sync_due:
            self._sync_due = now + SYNC_S
            assert self._hasher is not None
            self._syncing = (position, self._hasher.state, offload.Offloaded(sync_copy, os.dup(self.part.fd)))

    def _hash_from(self, checkpoint: tuple[int, str] | None) -> None:
        if self._hasher is not None:
            self._hasher.close()
        self._hasher = Hasher(self.part.fd, self.order.digests, checkpoint)

    def _note_start(self, have: int) -> None:
        if self._resumed_from is None:
            self._resumed_from = have
        elif have == 0:
            self._resumed_from = 0

    def _forget(self) -> None:
        self._close()
        os.ftruncate(self.part.fd, 0)
        self.part.facts = None
        self.part.folder.remove(self.part.sidecar)

    def _close(self) -> None:
        if self._hasher is not None:
            self._hasher.close()
            self._hasher = None
        if self._syncing is not None:
            self._syncing[2].settle()
            self._syncing = None

    # -- the end

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
            **{algorithm: digests[algorithm] for algorithm in ("md5", "sha1") if algorithm in digests},  # type: ignore[typeddict-item]
            "url": facts.final_url,
            "content_type": facts.content_type,
            "content_encoding": facts.coding,
            "seconds": round(seconds, 3),
            "rate": int(self.progress.fetched / seconds),
            "redirects": facts.redirects,
            "resumed_from": self._resumed_from or 0,
        }
        # The sidecar stays a while: an attempt whose acknowledgement was lost finds its file instead of making another.
        facts.result = dict(result)
        self.part.save()
        self.part.folder.remove(self.part.name)
        self.part.folder.remove(self.part.map)
        self.part.folder.sync()
        self.progress.tick()
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


def write_all(fd: int, view: memoryview, position: int) -> None:
    """Write all of ``view`` at ``position``."""
    while view:
        written = os.pwrite(fd, view, position)
        view, position = view[written:], position + written


def sync_copy(fd: int) -> None:
    """Push a file's bytes to the disk and close this descriptor of it."""
    try:
        getattr(os, "fdatasync", os.fsync)(fd)
    finally:
        os.close(fd)


def range_problem(answer: Answer, facts: Facts, have: int, end: int | None = None) -> str | None:
    """Return why ``answer`` does not continue the version in ``facts`` from byte ``have``, or None if it does."""
    if answer.status == 200:
        return "the file has changed on the server, or the server does not send parts of files"
    tag = answer.header("ETag" if (facts.validator or "").startswith('"') else "Last-Modified")
    span = answer.content_range()
    if answer.status == 416:
        if tag == facts.validator and span is not None and span[2] == have and facts.length in (None, have):
            return None
        return "the server's file is shorter than what is here"
    if span is None or None in span[:2]:
        return "the server does not say which part of the file it sent"
    first, last, total = span
    if first != have or last is None or last < have or (end is not None and last >= end):
        return "the server sent another part of the file than was asked for"
    if answer.length is not None and answer.length != last - have + 1:
        return "the server sent a part of the file with a wrong length"
    if facts.length is not None and total not in (None, facts.length):
        return "the file has another length now"
    if facts.length is not None and last >= facts.length:
        return "the server sent a part beyond the end of the file"
    if tag is not None and tag != facts.validator:
        return "the file has changed on the server"
    if answer.coding != facts.coding:
        return "the server now encodes the file in another way"
    return None


def cut_error(exc: Cut, position: int, facts: Facts | None, answer: Answer) -> DownloadError:
    """Say how far a cut connection came."""
    if facts is not None and facts.length is not None:
        amount = words.size_of(position, facts.length)
    else:
        amount = f"{words.size(position)}, before the end"
    return DownloadError(f"{exc} after {amount}", url=answer.url, status=answer.status)
