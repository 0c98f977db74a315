"""Range requests: ask for the missing bytes, and check that the response may be added to the partial file."""

from __future__ import annotations

from .. import messages
from ..errors import DownloadError
from ..files.partial import PartState
from .fetch import Source
from .response import Response
from .timeouts import ConnectionBroken

#: A server may answer a range request with fewer bytes. This many pieces of less than LEAST_BYTES are accepted.
LEAST_BYTES, MAX_SMALL_PIECES = 64 * 1024, 8


def open_range(
    source: Source, state: PartState, first: int, end: int | None = None, *, from_final: bool = False
) -> Response:
    """Request bytes from ``first`` to before ``end`` of the version in ``state``.

    Some servers compare If-Range with a date only, or not at all. If one sends the whole file with the same strong
    ETag, ask again with the date, then without If-Range: ``range_mismatch`` then insists on the same ETag.
    """
    while True:
        source.range_style = min(source.range_style, 2)
        headers = _headers(state, first, end, source.range_style)
        response = source.open(headers, from_final=from_final)
        same = (
            response.is_whole and response.strong_etag is not None and response.strong_etag == state.validator
            and response.length in (None, state.length)
        )
        if not same or source.range_style >= 2:
            return response
        source.range_style = 1 if source.range_style == 0 and state.modified else 2
        response.close()


def _headers(state: PartState, first: int, end: int | None, style: int) -> dict[str, str]:
    headers = {"Range": f"bytes={first}-{'' if end is None else end - 1}"}
    if_range = (state.validator, state.modified, None)[style]
    if if_range:
        headers["If-Range"] = if_range
    return headers


def range_mismatch(
    response: Response, state: PartState, first: int, end: int | None = None, *, is_conditional: bool = True
) -> str | None:
    """Return why ``response`` does not fit the partial file, or None if it does.

    A 416 fits if it says that nothing is missing. ``is_conditional``: the request had an If-Range.
    """
    if response.is_whole:
        return "the file changed on the server, or the server stopped supporting range requests"
    has_etag = (state.validator or "").startswith('"')
    tag = (response.header("ETag" if has_etag else "Last-Modified") or "").strip() or None
    span = response.content_range()
    if response.status == 416:
        if tag == state.validator and span is not None and span[2] == first and state.length in (None, first):
            return None
        return "the file on the server is now shorter than the part already downloaded"
    if span is None or span[0] is None or span[1] is None:
        return "the server did not say which range it sent"
    start, last, total = span[0], span[1], span[2]
    if start != first or last < first or (end is not None and last >= end):
        return "the server sent a different range than requested"
    response.expect(last - first + 1)
    if response.length is not None and response.length != last - first + 1:
        return "the length of the body contradicts the server's Content-Range"
    if state.length is not None and total not in (None, state.length):
        return "the length of the file has changed on the server"
    if (state.length is not None and last >= state.length) or (total is not None and last >= total):
        return "the server sent a range beyond the end of the file"
    if tag is not None and tag != state.validator:
        return "the file changed on the server"
    if tag is None and not is_conditional:
        return "the server did not say which version of the file it sent"
    if state.etag is not None and not has_etag and response.header("ETag") not in (None, state.etag):
        return "the file changed on the server"
    if response.coding != state.coding or response.is_transfer_coded:
        return "the server now encodes the file differently"
    return None


def total_of(response: Response) -> int | None:
    """Return the size of the file that a range says, or None."""
    span = response.content_range()
    return None if span is None else span[2]


def is_past_end(response: Response, state: PartState, have: int) -> bool:
    """Return whether a response to a request for bytes from ``have`` on says that there are none.

    Only after a range that did not say how long the file is: a 416 without a size, or those same bytes once more.
    """
    tag = response.header("ETag" if (state.validator or "").startswith('"') else "Last-Modified")
    if (tag or "").strip() != state.validator:
        return False
    span = response.content_range()
    return (response.status == 416 and span is None) or (response.status == 206 and span == (0, have - 1, None))


def check_piece_size(source: Source, response: Response) -> None:
    """Raise DownloadError if the server keeps sending much less than requested."""
    if response.received < LEAST_BYTES:
        source.small_pieces += 1
        if source.small_pieces > MAX_SMALL_PIECES or not response.received:
            raise DownloadError(f"{response.host} sends too few bytes per range", url=response.url)


def broken_error(exc: ConnectionBroken, have: int, state: PartState | None, response: Response) -> DownloadError:
    """Return the error for a connection that was lost after ``have`` bytes."""
    if state is not None and state.length is not None:
        amount = messages.size_of(have, state.length)
    else:
        amount = f"{messages.size(have)}, before the end"
    return DownloadError(f"{exc} after {amount}", url=response.url, status=response.status)
