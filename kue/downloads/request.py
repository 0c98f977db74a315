"""What goes into a download and what comes out: the job's data, checked, and its result."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypedDict

from .errors import DownloadFailed

#: Digests that a job may give, and their length in hexadecimal digits.
DIGESTS = {"sha256": 64, "sha1": 40, "md5": 32}
MAX_SEGMENTS = 16


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
    host: str
    "Name of the machine whose folder it is in: on several machines each may have its own."
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
    """What a job asks for.

    ``segments``: connections at once, or None to choose. ``keep_partial``: whether the bytes so far stay if the job is
    cancelled, or None if it does not say.
    """

    job_id: Any
    url: str
    filename: str | None
    digests: dict[str, str]
    segments: int | None
    keep_partial: bool | None = None

    @classmethod
    def read(cls, job_id: object, data: object) -> Order:
        """Read a job's data. Raises DownloadFailed with a sentence that says what to write instead."""
        if not isinstance(data, dict):
            raise DownloadFailed('The job\'s data must be an object with a "url"')
        url, filename, segments = data.get("url"), data.get("filename"), data.get("segments")
        keep_partial = data.get("keep_partial")
        if not isinstance(url, str) or not url.strip():
            raise DownloadFailed('The job\'s data has no "url"')
        if filename is not None and not isinstance(filename, str):
            raise DownloadFailed('"filename" must be text')
        if segments is not None and (type(segments) is not int or not 1 <= segments <= MAX_SEGMENTS):
            raise DownloadFailed(f'"segments" must be a whole number from 1 to {MAX_SEGMENTS}')
        if keep_partial is not None and not isinstance(keep_partial, bool):
            raise DownloadFailed('"keep_partial" must be true or false')
        digests = {}
        for algorithm, length in DIGESTS.items():
            wanted = data.get(algorithm)
            if wanted is None or wanted == "":
                continue
            if not isinstance(wanted, str) or not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", wanted.strip()):
                raise DownloadFailed(f'"{algorithm}" must be {length} hexadecimal digits')
            digests[algorithm] = wanted.strip().lower()
        return cls(job_id, url.strip(), filename, digests, segments, keep_partial)


@dataclass
class Bounds:
    """How big a file may be, and how much room must stay free; bytes. May be changed while downloads run."""

    max_bytes: int
    min_free: int
