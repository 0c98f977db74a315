"""Errors of a download, in sentences for the person who started it.

No message contains credentials: URLs in these errors went through ``urls.redact_url``. For the same reason errors of
lower layers are not chained (``from None``).
"""

from __future__ import annotations

from kue.errors import KueError, RetryLater, UnrecoverableError

#: Delay of a job that waits for disk space, ms.
NO_ROOM_MS = 60_000


class DownloadError(KueError):
    """This attempt failed. Another attempt may succeed, and resumes from the partial file.

    ``url`` is without credentials; ``status`` is the HTTP status, or None without a response.
    """

    expected = True

    def __init__(self, message: str, *, url: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.url, self.status = url, status


class DownloadFailed(DownloadError, UnrecoverableError):
    """The download cannot succeed as requested; another attempt would fail the same way."""


class DownloadPostponed(RetryLater, DownloadError):
    """Try again after ``delay_ms``: the disk is full, the host is busy, or the server sent Retry-After.

    ``counts`` is False if the wait does not count as one of the job's attempts.
    """

    def __init__(
        self, delay_ms: int, message: str, *, url: str | None = None, status: int | None = None, counts: bool = True
    ) -> None:
        RetryLater.__init__(self, delay_ms, message, counts=counts)
        self.url, self.status = url, status


class DiskFull(DownloadPostponed):
    """There is too little disk space. ``what`` says how much; the wait is not counted as an attempt."""

    def __init__(self, what: str) -> None:
        super().__init__(NO_ROOM_MS, f"Waiting for disk space: {what}", counts=False)
        self.what = what


class InvalidRequest(DownloadFailed, ValueError):
    """The job's data is invalid. ``code`` is ``bad_request``, ``bad_option``, ``bad_url`` or ``forbidden_address``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class InvalidUrl(InvalidRequest):
    """The URL can never be downloaded. ``code`` is ``bad_url`` or ``forbidden_address``.

    ``suggestion`` is the URL that was probably meant, or None.
    """

    def __init__(self, code: str, message: str, suggestion: str | None = None) -> None:
        super().__init__(code, message)
        self.suggestion = suggestion


class PartChanged(Exception):
    """The partial file and the file on the server are different versions: start over. Internal to this package."""
