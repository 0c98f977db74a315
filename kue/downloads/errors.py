"""What can go wrong with a download, in sentences for the person who pressed Start.

No text here ever holds credentials: URLs in these errors went through ``urls.redact_url``. For the same reason the
errors of the HTTP library are not chained (``from None``): theirs spell the whole request out.
"""

from __future__ import annotations

from kue.errors import KueError, RetryLater, UnrecoverableError


class DownloadError(KueError):
    """This attempt did not succeed; the next one may, and goes on from the bytes that are there.

    ``url`` is without credentials; ``status`` is the HTTP status, or None if there was no answer.
    """

    def __init__(self, message: str, *, url: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.url, self.status = url, status


class DownloadFailed(DownloadError, UnrecoverableError):
    """The download cannot succeed as asked for; another attempt would end the same way."""


class DownloadPostponed(RetryLater, DownloadError):
    """Nothing is wrong with the job; the next attempt should wait ``delay_ms`` (no room on the disk, Retry-After).

    ``counts`` is False where the wait is no fault of the download and should use up none of the job's attempts.
    """

    def __init__(
        self, delay_ms: int, message: str, *, url: str | None = None, status: int | None = None, counts: bool = True
    ) -> None:
        RetryLater.__init__(self, delay_ms, message, counts=counts)
        self.url, self.status = url, status


class InvalidUrl(DownloadFailed, ValueError):
    """The URL cannot be downloaded from, whatever answers there. ``code`` is ``bad_url`` or ``forbidden_address``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class PartChanged(Exception):
    """The bytes on disk and those on offer are not of one version: start over. Never leaves this package."""
