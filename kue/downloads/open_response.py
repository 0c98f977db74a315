"""Request a file, or the missing part of it, and decide whether the response can be used."""

from __future__ import annotations

import os
from collections.abc import Callable

from . import messages
from .addresses.urls import redact_url
from .errors import DownloadError, DownloadFailed
from .files import filenames
from .files.disk_space import Disk
from .files.partial import Part, PartState, boot_id
from .http.fetch import Source
from .http.ranges import is_past_end, open_range, range_mismatch, total_of
from .http.response import CODINGS, Response
from .limits import SizeLimits
from .progress import Progress
from .request import DownloadRequest

#: Content codings that are kept as file name extensions, at most.
MAX_CODINGS = 3
#: Extensions with the same meaning.
_SYNONYMS = {".gz": (".gz", ".tgz", ".gzip", ".svgz"), ".zst": (".zst", ".zstd", ".tzst"), ".xz": (".xz", ".txz")}
#: Statuses with which servers refuse range requests: the same request without a range may succeed.
RANGE_REFUSALS = frozenset({400, 403, 405, 406, 412, 417, 422, 501})
_NOT_FROM_START = "although no range was requested, and did not send one from byte 0 on"
_CONTRADICTION = "with a Content-Range that contradicts its length"
#: How often one attempt may start over because the responses do not match.
MAX_RESTARTS = 2


class ResponseOpener:
    """Open the responses of one attempt. ``start(have)`` is called before bytes from ``have`` on are copied."""

    def __init__(
        self,
        request: DownloadRequest,
        source: Source,
        part: Part,
        progress: Progress,
        size_limits: SizeLimits,
        disk: Disk,
        *,
        start: Callable[[int], None],
        now: Callable[[], float] | None,
        exact_names: bool = False,
    ) -> None:
        self._request, self._source, self._part, self._progress = request, source, part, progress
        self._restarts = 0
        #: Whether the last response was a range that does not say how long the file is.
        self._asks_for_end = False
        self._exact_names = exact_names
        self._size_limits, self._disk, self._start, self._now = size_limits, disk, start, now

    def open(self, have: int) -> tuple[Response | None, int]:
        """Request the file from ``have`` on; return the response and the position of its first byte.

        The response is None if the server says that nothing is missing.
        """
        state = self._part.state
        if have and state is not None:
            if state.validator is None:
                self._start_over("the server sends neither an ETag nor a usable Last-Modified, so resuming is not safe")
            else:
                try:
                    response = open_range(self._source, state, have)
                except DownloadError as exc:
                    if exc.status not in RANGE_REFUSALS:
                        raise
                    # The partial file is kept unless the server sends the whole file.
                    response = self._open_all()
                    self._start_over(f"the server answered a range request with {messages.status(exc.status)}")
                    return self._begin(response), 0
                problem = range_mismatch(response, state, have, is_conditional=self._source.range_style < 2)
                if problem is None:
                    if state.length is None and response.status == 206:
                        state.length = total_of(response)
                        self._asks_for_end = state.length is None
                    self.resume(state, have)
                    if response.status == 206:
                        return response, have
                    response.close()
                    state.complete = have
                    self._part.save()
                    return None, have
                if not response.is_whole:
                    response.close()
                if self._asks_for_end and is_past_end(response, state, have):
                    return None, have
                self._start_over(problem)
                if response.is_whole:
                    return self._begin(response), 0
        return self._begin(self._open_all()), 0

    def _open_all(self) -> Response:
        """Request the whole file; if the server sends a part without saying which one, once more as a range."""
        response = self._source.open()
        try:
            if response.status == 206:
                _size_from_start(response)
            return response
        except ValueError:
            response.close()
        return self._source.open({"Range": "bytes=0-"})

    def resume(self, state: PartState, have: int) -> None:
        """Resume a partial file: check the limits, and record that its bytes are valid."""
        where = messages.size_of(have, state.length) if state.length else messages.size(have)
        self._progress.log(f"Resuming at {where}")
        if (state.length or 0) > self._size_limits.max_bytes:
            raise self._too_big(state.length or 0)
        on_disk = os.fstat(self._part.fd).st_blocks * 512
        self._disk.need_room(max(0, (state.length or 0) - on_disk))
        if state.segments is None and have < self._part.size:
            os.ftruncate(self._part.fd, have)
        state.boot = boot_id()
        self._part.save()
        self._start(have)

    def _start_over(self, reason: str) -> None:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise DownloadError(f"Restarted {MAX_RESTARTS} times in one attempt: {reason}")
        self._progress.log(f"Starting over: {reason}")

    def _begin(self, response: Response) -> Response:
        """Start at byte 0 of ``response``: check its headers, write the sidecar."""
        try:
            length = self._length(response)
            if length is not None and length > self._size_limits.max_bytes:
                raise self._too_big(length)
            self._part.restart(self._state(response, length))
            self._disk.need_room(length or 0)
            self._start(0)
        except BaseException as exc:
            response.close()
            if isinstance(exc, DownloadError):
                exc.url, exc.status = response.url, response.status
            raise
        self._asks_for_end = length is None and response.status == 206
        has_no_end = response.status == 206 and total_of(response) is None and response.validator is None
        if response.is_open_ended or has_no_end:
            self._progress.log("No Content-Length: a truncated download may go undetected")
        return response

    def _length(self, response: Response) -> int | None:
        """Return the size of the file that ``response`` begins, or None. Raises DownloadFailed if it does not."""
        if response.is_whole:
            return response.length
        answered = f"{response.host} answered {messages.status(response.status)}"
        if response.status != 206:
            raise DownloadFailed(f"{answered} {_NOT_FROM_START}")
        try:
            size = _size_from_start(response)
        except ValueError as exc:
            raise DownloadFailed(f"{answered} {exc}") from None
        if size is None:
            # Without a version, nothing more can be asked for.
            return response.length if response.validator is None else None
        if response.length is not None and response.length < size and response.validator is None:
            raise DownloadFailed(
                f"{answered} with only part of the file, and no ETag or Last-Modified to request the rest safely"
            )
        return size

    def _state(self, response: Response, length: int | None) -> PartState:
        content_type = response.header("Content-Type")
        disposition = "; ".join(response.header_lines("Content-Disposition")[:3])
        if self._exact_names and self._request.filename:
            name = self._request.filename
        else:
            name = filenames.choose_name(self._request.filename, disposition, response.url, content_type)
        return PartState(
            url=redact_url(self._request.url),
            final_url=response.url,
            validator=response.validator,
            length=length,
            name=self._final_name(self._with_coding(name, response)),
            content_type="".join(filter(str.isprintable, content_type))[:200] if content_type else None,
            coding=response.coding,
            redirects=response.redirects,
            boot=boot_id(),
            etag=response.header("ETag"),
            modified=response.strong_date,
            digests=response.digests(),
        )

    def _final_name(self, name: str) -> str:
        """Return the name with date and job id, unless plain names are wanted."""
        return name if self._now is None else filenames.final_name(name, self._request.job_id, self._now())

    def _with_coding(self, name: str, response: Response) -> str:
        """Return the name with the extension of the content coding: the file is never unpacked, against bombs."""
        codings = response.codings
        for value in response.unknown_codings[:1]:
            shown = "".join(filter(str.isprintable, value))[:40]
            self._progress.log(f"Ignored Content-Encoding: {shown}, which is not a compression. Saved as sent")
        if not codings:
            return name
        if len(codings) > MAX_CODINGS:
            self._progress.log(f"The server encoded the file {len(codings)} times. Saved as sent")
            return name
        extension = "".join(CODINGS[coding] for coding in codings)
        if not name.lower().endswith(_SYNONYMS.get(extension, (extension.lower(),))):
            name += extension
            self._progress.log(
                f"The server compressed the file ({', '.join(codings)}) although identity was requested. "
                f"Saved as sent, as {extension}"
            )
        return name

    def _too_big(self, length: int) -> DownloadFailed:
        most = messages.size(self._size_limits.max_bytes)
        return DownloadFailed(
            f"The file of {messages.size(length)} is larger than the limit of {most}. "
            "An operator can raise DOWNLOAD_MAX_BYTES"
        )


def _size_from_start(response: Response) -> int | None:
    """Return the size of the file whose beginning a 206 sends, None if it does not say how long the file is.

    Raises ValueError if it sends another part, or contradicts itself.
    """
    span = response.content_range()
    if span is None:
        raise ValueError(_NOT_FROM_START)
    first, last, total = span
    if first is None or last is None:
        # "bytes */5000", which belongs to a 416: a body of that length is the file.
        if total is None or response.length != total:
            raise ValueError(_NOT_FROM_START)
        return total
    if first != 0:
        raise ValueError(_NOT_FROM_START)
    response.expect(last + 1)
    if response.chunked:
        length = last + 1
    else:
        length = response.length or 0
    if total is None:
        if length != last + 1:
            raise ValueError(_CONTRADICTION)
        return None
    if length >= total:
        # As many bytes as the file has, or more, are all of it, whatever the range says.
        return length
    if length != last + 1:
        raise ValueError(_CONTRADICTION)
    return total
