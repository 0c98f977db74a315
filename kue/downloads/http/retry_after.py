"""When a server asks to come again: Retry-After, and the headers of rate limits."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from .response_head import Head

_SECONDS = re.compile(r"([0-9]{1,13})(?:\.[0-9]*)?\s*(?:s|secs?|seconds?)?(?:,.*)?", re.IGNORECASE)
#: Prefixes of the headers -Remaining and -Reset.
_PREFIXES = ("X-RateLimit", "RateLimit", "X-Rate-Limit")
#: RateLimit of either draft of the IETF: ``limit=9, remaining=0, reset=30`` and ``"default";r=0;t=30``.
_REMAINING, _RESET = re.compile(r"(?i)\b(?:remaining|r)=0(?![0-9.])"), re.compile(r"(?i)\b(?:reset|t)=([0-9]{1,9})")
#: Numbers from here on are times since the epoch, in seconds or milliseconds.
EPOCH_S, EPOCH_MS = 10**9, 10**12


def retry_after_s(head: Head) -> float | None:
    """Return the seconds that a server asks to wait, or None.

    A time counts from the response's own ``Date``, since either clock may be wrong. Rate limits count in a 403 or 429.
    """
    now_s = http_date(head.first("Date")) or time.time()
    wait_s = _wait_s(head.first("Retry-After"), now_s)
    if wait_s is not None or head.status not in (403, 429):
        return wait_s
    for prefix in _PREFIXES:
        if (head.first(f"{prefix}-Remaining") or "").strip() == "0":
            return _wait_s(head.first(f"{prefix}-Reset"), now_s)
    limit = head.joined("RateLimit") or ""
    reset = _RESET.search(limit) if _REMAINING.search(limit) else None
    return float(reset[1]) if reset else None


def _wait_s(text: str | None, now_s: float) -> float | None:
    """Return the seconds until what a header says: a number of seconds, a time since the epoch, or a date."""
    text = (text or "").strip()
    if match := _SECONDS.fullmatch(text):
        number = float(match[1])
        at = number if number >= EPOCH_S else None
        if at is None:
            return number
        return max(0.0, (at / 1000 if at >= EPOCH_MS else at) - now_s)
    at = http_date(text)
    if at is None:
        try:
            at = _timestamp(datetime.fromisoformat(text))
        except ValueError:
            return None
    return max(0.0, at - now_s)


def http_date(text: str | None) -> float | None:
    """Return an HTTP date as epoch seconds, or None."""
    try:
        return _timestamp(parsedate_to_datetime(text or ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _timestamp(time: datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
