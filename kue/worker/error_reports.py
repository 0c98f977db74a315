"""Rate-limited reports of errors that are not transient, in the log and to ``queue.on("error")``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from redis.exceptions import RedisError

log = logging.getLogger("kue.worker")

#: Seconds until the same error is reported again.
REPORT_S = 10.0
#: Maximum number of distinct errors remembered.
REPORTS_MAX = 100


class ErrorReports:
    """Reports each error once in REPORT_S."""

    def __init__(self, on_error: Callable[[BaseException], object]) -> None:
        self._on_error = on_error
        self._reported: dict[tuple[str, str], float] = {}

    def report(self, what: str, exc: BaseException) -> None:
        """Log that ``what`` failed, with a traceback if it may be a bug of this library, and call ``on_error``."""
        key, now = (what, f"{type(exc).__name__} {exc}"[:200]), time.monotonic()
        if now - self._reported.get(key, -REPORT_S) < REPORT_S:
            return
        self._reported[key] = now
        if len(self._reported) > REPORTS_MAX:
            del self._reported[next(iter(self._reported))]
        log.error("%s: %s", what, exc, exc_info=None if isinstance(exc, RedisError) else exc)
        self._on_error(exc)
