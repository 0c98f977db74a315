"""The beginning of a request: ask for the file, or for what is missing of it, and decide what the answer is worth."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from . import messages
from .errors import DownloadError, DownloadFailed
from .files import filenames
from .files.disk_space import Disk
from .files.partial import Facts, Part, boot_id
from .http.fetch import Source
from .http.ranges import range_headers, range_problem
from .http.response import Answer
from .http.urls import redact_url
from .progress import Progress
from .request import Bounds, Order


class Opening:
    """Opens the answers of one attempt. ``start(have)`` is called when bytes are about to come from ``have`` on."""

    def __init__(
        self,
        order: Order,
        source: Source,
        part: Part,
        progress: Progress,
        bounds: Bounds,
        disk: Disk,
        *,
        start: Callable[[int], None],
        now: Callable[[], float],
    ) -> None:
        self._order, self._source, self._part, self._progress = order, source, part, progress
        self._bounds, self._disk, self._start, self._now = bounds, disk, start, now

    def open(self, have: int) -> tuple[Answer | None, int]:
        """Ask for the file from ``have`` on; return the answer and the byte that it begins at.

        No answer: the server says that nothing is missing.
        """
        facts = self._part.facts
        if have and facts is not None:
            if facts.validator is None:
                self._progress.log("Starting over: the server gives nothing to tell one version of the file by")
            else:
                answer = self._source.open(range_headers(facts, have))
                problem = range_problem(answer, facts, have)
                if problem is None:
                    self.resume(facts, have)
                    if answer.status == 206:
                        return answer, have
                    answer.close()
                    facts.complete = have
                    self._part.save()
                    return None, have
                self._progress.log(f"Starting over: {problem}")
                if answer.status == 200:
                    return self._begin(answer), 0
                answer.close()
        return self._begin(self._source.open()), 0

    def resume(self, facts: Facts, have: int) -> None:
        """Go on with a part: check that it may, note that it does."""
        where = messages.size_of(have, facts.length) if facts.length else messages.size(have)
        self._progress.log(f"Going on at {where}")
        if (facts.length or 0) > self._bounds.max_bytes:
            raise self._too_big(facts.length or 0)
        on_disk = os.fstat(self._part.fd).st_blocks * 512
        self._disk.need_room(max(0, (facts.length or 0) - on_disk))
        if facts.segments is None and have < self._part.size:
            os.ftruncate(self._part.fd, have)
        facts.boot = boot_id()
        self._part.save()
        self._start(have)

    def _begin(self, answer: Answer) -> Answer:
        """Start at byte 0 of ``answer``: check its headers, write the sidecar."""
        try:
            if answer.status != 200:
                raise DownloadFailed(f"{answer.host} answered {messages.status(answer.status)} to a plain request")
            if answer.length is not None and answer.length > self._bounds.max_bytes:
                raise self._too_big(answer.length)
            self._part.restart(self._facts(answer))
            self._disk.need_room(answer.length or 0)
            self._start(0)
        except BaseException as exc:
            answer.close()
            if isinstance(exc, DownloadError):
                exc.url, exc.status = answer.url, answer.status
            raise
        if answer.length is None and not answer.chunked:
            self._progress.log("The server does not say how long the file is, so a cut connection may go unnoticed")
        return answer

    def _facts(self, answer: Answer) -> Facts:
        content_type = answer.header("Content-Type")
        disposition = answer.header("Content-Disposition")
        name = filenames.choose_name(self._order.filename, disposition, answer.url, content_type)
        coding = answer.coding
        if coding is not None:
            if coding not in ("gzip", "x-gzip"):
                raise DownloadFailed(f"{answer.host} sent the file encoded ({coding[:40]}) although asked not to")
            # Stored as it came, and called what it is. Unpacking is what a bomb waits for.
            if not re.search(r"(?i)\.(gz|tgz|gzip)$", name):
                name += ".gz"
                self._progress.log("The server sent the file compressed although asked not to; it is kept so, as .gz")
        return Facts(
            url=redact_url(self._order.url),
            final_url=answer.url,
            validator=answer.validator,
            length=answer.length,
            name=filenames.final_name(name, self._order.job_id, self._now()),
            content_type="".join(filter(str.isprintable, content_type))[:200] if content_type else None,
            coding=coding,
            redirects=answer.redirects,
            boot=boot_id(),
        )

    def _too_big(self, length: int) -> DownloadFailed:
        most = messages.size(self._bounds.max_bytes)
        return DownloadFailed(f"The file is too big: {messages.size(length)}, and at most {most} may be downloaded")
