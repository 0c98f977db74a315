"""Validate a `start` event and create its download job. No Flask, no socket."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import unquote, urlsplit

from kue.downloads import ATTEMPTS, BACKOFF
from kue.downloads.request import DIGESTS, MAX_SEGMENTS
from kue.storage.codec import PRIORITIES

if TYPE_CHECKING:
    from kue.queue import Queue

#: The job type of the article's worker.
DOWNLOAD_TYPE = "startdownload"

#: Longest url taken, in characters; what browsers and servers agree on is far less.
MAX_URL = 8_192
MAX_TITLE = 500
MAX_FILENAME = 255
MAX_ATTEMPTS = 100
#: A year, in milliseconds: longest delay and ttl.
MAX_WAIT_MS = 366 * 24 * 3600 * 1000
#: Tries a download gets unless its sender says otherwise.
DEFAULT_ATTEMPTS = ATTEMPTS


class StartError(TypedDict):
    """The answer to a `start` that was not taken."""

    error: str
    """A sentence that says what to do."""
    code: str
    """One of bad_request, bad_type, bad_url, bad_option, unavailable, refused, unknown_event, error."""


class Refused(ValueError):
    """A request that cannot be taken. ``answer`` goes to its sender, and to nobody else."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.answer: StartError = {"error": message, "code": code}


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A checked request: what it holds can be saved as it is."""

    data: dict[str, Any]
    options: dict[str, Any]
    #: Whether a job that waits or runs for the same url will do.
    unique: bool = False


def _clean_text(value: object, name: str, limit: int) -> str:
    """Return ``value`` if it is a text that Redis, a page and a log can hold."""
    if not isinstance(value, str):
        raise Refused("bad_option", f"{name} must be a string")
    if len(value) > limit:
        raise Refused("bad_option", f"{name} is too long; the limit is {limit} characters")
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
        raise Refused("bad_option", f"{name} contains control characters")
    return value


def check_url(value: object) -> str:
    """Return the url if it can be downloaded from: http or https, with a host. Raises Refused."""
    if value is None or value == "":
        raise Refused("bad_url", "url is required")
    if not isinstance(value, str):
        raise Refused("bad_url", "url must be a string")
    if len(value) > MAX_URL:
        raise Refused("bad_url", f"the url is too long; the limit is {MAX_URL:,} characters")
    url = value.strip(" ")
    if re.search(r"[\x00-\x20\x7f\ud800-\udfff]", url):
        raise Refused("bad_url", "the url contains spaces or control characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise Refused("bad_url", "not a valid url") from exc
    if parts.scheme.lower() not in ("http", "https"):
        raise Refused("bad_url", "the url must begin with http:// or https://")
    if not parts.hostname or port == 0:
        raise Refused("bad_url", "the url has no host")
    return url


def _whole(value: object, name: str, low: int, high: int) -> int:
    """Return a whole number given as a number or as decimal digits (a form field)."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,16}", value):
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Refused("bad_option", f"{name} must be a whole number")
    if not low <= value <= high:
        raise Refused("bad_option", f"{name} must be between {low} and {high}")
    return value


def _flag(value: object, name: str) -> bool:
    """Return a yes or no given as a boolean, or as the text of a form field."""
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
    """Return what a person would call the file behind ``url``: the last part of its path, else its host."""
    parts = urlsplit(url)
    last = unquote(parts.path.rstrip("/").rsplit("/", 1)[-1], errors="replace")
    last = re.sub(r"[\x00-\x1f\x7f\ufffd\ud800-\udfff]", "", last).strip()
    return (last or parts.hostname or url)[:MAX_TITLE]


def parse(args: tuple[object, ...]) -> StartRequest:
    """Read the arguments of a `start` event. Raises Refused with a sentence for its sender.

    Members other than the known ones are left unread: pages written for a Node server send what they like.
    """
    if len(args) != 1:
        raise Refused("bad_request", "start takes one object, like {type: 'download', url: 'https://…'}")
    request = args[0]
    if not isinstance(request, dict):
        raise Refused("bad_request", "start takes an object, like {type: 'download', url: 'https://…'}")
    kind = request.get("type")
    if kind != "download":
        raise Refused("bad_type", "type must be 'download'; no other type can be started here")
    url = check_url(request.get("url"))

    data: dict[str, Any] = {"title": name_of(url), "url": url}
    if request.get("title") not in (None, ""):
        data["title"] = _clean_text(request["title"], "title", MAX_TITLE).strip() or data["title"]
    if request.get("filename") not in (None, ""):
        data["filename"] = _clean_text(request["filename"], "filename", MAX_FILENAME)
    for name, length in DIGESTS.items():
        if request.get(name) not in (None, ""):
            digest = _clean_text(request[name], name, length).lower()
            if not re.fullmatch(rf"[0-9a-f]{{{length}}}", digest):
                raise Refused("bad_option", f"{name} must be {length} hexadecimal digits")
            data[name] = digest
    if request.get("segments") not in (None, ""):
        data["segments"] = _whole(request["segments"], "segments", 1, MAX_SEGMENTS)
    if request.get("keep_partial") not in (None, ""):
        data["keep_partial"] = _flag(request["keep_partial"], "keep_partial")

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
    """Save the job and return its id, or that of one that waits or runs already. Raises what the queue raises."""
    job = queue.create(DOWNLOAD_TYPE, dict(request.data), **request.options)
    if request.unique:
        job = queue.save_unique(job, "url")
    else:
        queue.claim_unique(job.save(), "url")
    return int(job.id or 0)
