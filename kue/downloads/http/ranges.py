"""Whether an answer to a request for a range may be added to what is there. Pure."""

from __future__ import annotations

from .. import messages
from ..errors import DownloadError
from ..files.partial import Facts
from .response import Answer
from .watchdog import Cut

#: A server may answer a request for a range with less. Less than this is not worth a request, bytes.
LEAST_BYTES = 64 * 1024


def range_headers(facts: Facts, first: int, end: int | None = None) -> dict[str, str]:
    """Return the headers that ask for bytes from ``first`` to before ``end`` of the version in ``facts``."""
    last = "" if end is None else str(end - 1)
    return {"Range": f"bytes={first}-{last}", "If-Range": facts.validator or ""}


def range_problem(answer: Answer, facts: Facts, first: int, end: int | None = None) -> str | None:
    """Return why ``answer`` is not what ``range_headers`` asked for, or None if it is.

    A 416 is what was asked for if it says that nothing is missing.
    """
    if answer.status == 200:
        return "the file has changed on the server, or the server does not send parts of files"
    tag = answer.header("ETag" if (facts.validator or "").startswith('"') else "Last-Modified")
    span = answer.content_range()
    if answer.status == 416:
        if tag == facts.validator and span is not None and span[2] == first and facts.length in (None, first):
            return None
        return "the server's file is shorter than what is here"
    if span is None or span[0] is None or span[1] is None:
        return "the server does not say which part of the file it sent"
    start, last, total = span[0], span[1], span[2]
    if start != first or last < first or (end is not None and last >= end):
        return "the server sent another part of the file than was asked for"
    if answer.length is not None and answer.length != last - first + 1:
        return "the server sent a part of the file with a wrong length"
    if facts.length is not None and total not in (None, facts.length):
        return "the file has another length now"
    if (facts.length is not None and last >= facts.length) or (total is not None and last >= total):
        return "the server sent a part beyond the end of the file"
    if tag is not None and tag != facts.validator:
        return "the file has changed on the server"
    if answer.coding != facts.coding:
        return "the server now encodes the file in another way"
    return None


def worth_another(answer: Answer) -> None:
    """Raise DownloadError if a server that sends less than asked for sends so little that asking on makes no sense."""
    if answer.received < LEAST_BYTES:
        raise DownloadError(f"{answer.host} sends the file in pieces that are too small", url=answer.url)


def cut_error(exc: Cut, have: int, facts: Facts | None, answer: Answer) -> DownloadError:
    """Say how far a connection came that was cut."""
    if facts is not None and facts.length is not None:
        amount = messages.size_of(have, facts.length)
    else:
        amount = f"{messages.size(have)}, before the end"
    return DownloadError(f"{exc} after {amount}", url=answer.url, status=answer.status)
