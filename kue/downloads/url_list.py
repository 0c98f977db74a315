"""Many URLs in one text: pasted lines, a dropped file, or ``kue download -i``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .addresses.address_guard import AllowList
from .addresses.urls import Url, split_url
from .errors import InvalidRequest
from .request import DownloadRequest

#: Most URLs in one list.
MAX_URLS = 10_000


@dataclass(frozen=True)
class ListedUrl:
    """One line with a URL. ``error`` says why it cannot be downloaded; ``duplicate_of`` is an earlier line's number."""

    line: int
    url: str
    error: str | None = None
    duplicate_of: int | None = None
    suggestion: str | None = None

    @property
    def is_usable(self) -> bool:
        """Whether to download it."""
        return self.error is None and self.duplicate_of is None


def read_urls(
    lines: Iterable[str], allow: Sequence[str] | AllowList = (), *, skip_comments: bool = True
) -> list[ListedUrl]:
    """Validate each line. Empty lines and comments (``# …``) are skipped, or invalid without ``skip_comments``.

    Raises ValueError for too many URLs.
    """
    allow = allow if isinstance(allow, AllowList) else AllowList(allow)
    found: list[ListedUrl] = []
    first_line: dict[Url, int] = {}
    for number, text in enumerate(lines, 1):
        text = text.strip("\ufeff \t\r\n")
        if skip_comments and (not text or text.startswith("#")):
            continue
        if len(found) >= MAX_URLS:
            raise ValueError(f"a list may have at most {MAX_URLS:,} URLs")
        try:
            url = DownloadRequest.parse({"url": text}, allow=allow).url
        except InvalidRequest as exc:
            found.append(ListedUrl(number, text[:200], str(exc), suggestion=getattr(exc, "suggestion", None)))
            continue
        target = split_url(url, allow)
        found.append(ListedUrl(number, url, duplicate_of=first_line.get(target)))
        first_line.setdefault(target, number)
    return found
