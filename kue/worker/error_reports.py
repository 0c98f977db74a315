"""Errors that no waiting cures, told as what they are, in the log and to ``queue.on("error")``, now and then."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from redis.exceptions import RedisError

log = logging.getLogger("kue.worker")

#: Seconds until the same error is told again.
REPORT_S = 10.0
#: Different errors that are remembered.
REPORTS_MAX = 100


class ErrorReports:
    """Tells each error once in REPORT_S."""

    def __init__(self, on_error: Callable[[BaseException], object]) -> None:
        self._on_error = on_error
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, what: str, exc: BaseException) -> None:
        """Log that ``what`` failed, with a traceback if the fault may be ours, and call ``on_error``."""
        key, now = (what, f"{type(exc).__name__} {exc}"[:200]), time.monotonic()
        if now - self._told.get(key, -REPORT_S) < REPORT_S:
            return
        self._told[key] = now
        if len(self._told) > REPORTS_MAX:
            del self._told[next(iter(self._told))]
        log.error("%s: %s", what, exc, exc_info=None if isinstance(exc, RedisError) else exc)
        self._on_error(exc)
