"""One log line when Redis goes away, and one with the length when it is back."""

from __future__ import annotations

import logging
import time


class Outage:
    """The state of one connection, or of several that fail together, as the log tells it."""

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log, self._what = log, what
        self._since: float | None = None

    def away(self, exc: BaseException) -> bool:
        """Note a failure; return whether it begins an outage."""
        if self._since is not None:
            return False
        self._since = time.monotonic()
        self._log.warning("%s is away or refuses (%s); trying again until it is back", self._what, exc)
        return True

    def back(self) -> bool:
        """Note a success; return whether it ends an outage."""
        if self._since is None:
            return False
        self._log.warning("%s is back after %.1f s", self._what, time.monotonic() - self._since)
        self._since = None
        return True
