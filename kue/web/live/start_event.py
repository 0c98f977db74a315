"""Validate a `start` event and create its download job. No Flask, no socket."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import unquote

from kue.downloads import ARCHIVE_TYPE, ATTEMPTS, BACKOFF, DownloadRequest, InvalidRequest
from kue.downloads.addresses.urls import MAX_URL_BYTES, split_url
from kue.downloads.archive import archive_data
from kue.storage.codec import PRIORITIES

if TYPE_CHECKING:
    from kue.queue import Queue

#: The job type of the article's worker.
DOWNLOAD_TYPE = "startdownload"

MAX_URL = MAX_URL_BYTES
MAX_TITLE = 500
MAX_ATTEMPTS = 100
#: A year, in milliseconds: longest delay and ttl.
MAX_WAIT_MS = 366 * 24 * 3600 * 1000
#: Default number of attempts of a download.
DEFAULT_ATTEMPTS = ATTEMPTS


class StartError(TypedDict, total=False):
    """The response to a refused `start`."""

    error: str
    """The problem, in a sentence."""
    code: str
    """One of bad_request, bad_type, bad_url, forbidden_address, bad_option, unavailable, refused, unknown_event,
    error."""
    suggestion: str
    """The URL that was probably meant."""


class Refused(ValueError):
    """A refused request. ``answer`` is sent only to its sender."""

    def __init__(self, code: str, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.answer: StartError = {"error": message, "code": code}
        if suggestion is not None:
            self.answer["suggestion"] = suggestion


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A valid request, ready to be saved."""

    data: dict[str, Any]
    options: dict[str, Any]
    #: Whether to return an existing queued or running job for the same URL.
    unique: bool = False


def _clean_text(value: object, name: str, limit: int) -> str:
    """Return ``value`` if it is a string that can be stored, shown and logged."""
    if not isinstance(value, str):
        raise Refused("bad_option", f"{name} must be a string")
    if len(value) > limit:
        raise Refused("bad_option", f"{name} must have at most {limit} characters")
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
        raise Refused("bad_option", f"{name} contains control characters")
    return value


def check_url(value: object, allow: Sequence[str] = ()) -> str:
    """Return the trimmed URL if it can be downloaded. Raises Refused."""
    return parse_download({"url": value}, allow).url


def parse_download(data: object, allow: Sequence[str] = ()) -> DownloadRequest:
    """Validate the data of a download job as its worker does. Raises Refused."""
    try:
        return DownloadRequest.parse(data, allow=allow)
    except InvalidRequest as exc:
        raise Refused(exc.code, str(exc), getattr(exc, "suggestion", None)) from None


def _whole(value: object, name: str, low: int, high: int) -> int:
    """Return a whole number given as a number or as decimal digits (a form field)."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,16}", value):
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused("bad_option", f"{name} must be a whole number")
    if not low <= value <= high:
        raise Refused("bad_option", f"{name} must be between {low:,} and {high:,}")
    return value


def _flag(value: object, name: str) -> bool:
    """Return a boolean, given as such or as the text of a form field."""
    if value in (True, "true", "on", "1"):
        return True
    if value in (False, "false", "off", "0"):
        return False
    raise Refused("bad_option", f"{name} must be true or false")


def check_priority(value: object) -> int:
    """Return a priority given by name or as a whole number; lower runs sooner. Raises Refused."""
    if isinstance(value, str) and value in PRIORITIES:
        return PRIORITIES[value]
    if isinstance(value, str) and re.fullmatch(r"-[0-9]{1,9}", value):
        return int(value)
    try:
        return _whole(value, "priority", -1_000_000, 1_000_000)
    except Refused:
        names = ", ".join(PRIORITIES)
        raise Refused("bad_option", f"priority must be a whole number or one of {names}") from None


def name_of(url: str) -> str:
    """Return a readable name for the file at ``url``: the last part of its path, else its host."""
    parts = split_url(url, ["*"])
    path = parts.target.partition("?")[0]
    last = unquote(path.rstrip("/").rsplit("/", 1)[-1], errors="replace")
    last = re.sub(r"[\x00-\x1f\x7f\ufffd\ud800-\udfff]", "", last).strip()
    if last:
        return last[:MAX_TITLE]
    try:
        return parts.host.encode("ascii").decode("idna")[:MAX_TITLE]
    except UnicodeError:
        return parts.host[:MAX_TITLE]


def parse(args: tuple[object, ...], allow: Sequence[str] = ()) -> StartRequest:
    """Parse the arguments of a `start` event. Raises Refused with a message for the sender.

    ``allow``: addresses allowed besides public ones. Unknown members are ignored: pages written for a Node
    server may send some.
    """
    if len(args) != 1:
        raise Refused("bad_request", "start takes one object, like {type: 'download', url: 'https://…'}")
    request = args[0]
    if not isinstance(request, dict):
        raise Refused("bad_request", "start takes an object, like {type: 'download', url: 'https://…'}")
    kind = request.get("type")
    if kind != "download":
        raise Refused("bad_type", "type must be 'download': it is the only type that can be started here")
    wanted = parse_download(request, allow)

    data: dict[str, Any] = {"title": name_of(wanted.url), **wanted.to_data()}
    if request.get("title") not in (None, ""):
        data["title"] = _clean_text(request["title"], "title", MAX_TITLE).strip() or data["title"]

    options: dict[str, Any] = {"attempts": DEFAULT_ATTEMPTS, "backoff": dict(BACKOFF)}
    if request.get("attempts") not in (None, ""):
        options["attempts"] = _whole(request["attempts"], "attempts", 1, MAX_ATTEMPTS)
    if request.get("priority") not in (None, ""):
        options["priority"] = check_priority(request["priority"])
    for name in ("delay", "ttl"):
        if request.get(name) not in (None, "", 0):
            options[name] = _whole(request[name], f"{name} (milliseconds)", 0, MAX_WAIT_MS)
    unique = request.get("unique") not in (None, "") and _flag(request["unique"], "unique")
    return StartRequest(data, options, unique)


def create(queue: Queue, request: StartRequest) -> int:
    """Save the job and return its id, or that of an existing queued or running one. Raises the queue's errors."""
    job = queue.create(DOWNLOAD_TYPE, dict(request.data), **request.options)
    if request.unique:
        queue.save_unique(job, "url")
    else:
        queue.claim_unique(job.save(), "url")
    return int(job.id or 0)


def create_with_archive(queue: Queue, requests: Sequence[StartRequest]) -> tuple[list[int], int]:
    """Save downloads and the job that archives their files afterwards; return the ids of both.

    All in one step, except downloads that must be unique: of these, one that waits or runs already is waited for.
    """
    downloads = [queue.create(DOWNLOAD_TYPE, dict(each.data), **each.options) for each in requests]
    for number, (job, request) in enumerate(zip(downloads, requests, strict=True)):
        if request.unique:
            downloads[number] = queue.save_unique(job, "url")
    parent = queue.create(ARCHIVE_TYPE, archive_data(len(downloads)), attempts=ATTEMPTS, backoff=dict(BACKOFF))
    parent.after(downloads, on_failure="ignore").save()
    for job, request in zip(downloads, requests, strict=True):
        if not request.unique:
            queue.claim_unique(job, "url")
    return [int(job.id or 0) for job in downloads], int(parent.id or 0)
