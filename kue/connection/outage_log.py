"""One log line when Redis becomes unreachable, and one with the length when it recovers, whoever notices."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from redis.exceptions import BusyLoadingError, ResponseError

from .liveness import ConnectionForgotten

log = logging.getLogger("kue")


class Outage:
    """Whether Redis is unreachable, as all connections of a queue in this process see it together."""

    def __init__(self) -> None:
        #: Called with the error that begins an outage.
        self.on_unreachable: Callable[[BaseException], object] | None = None
        self._lock = threading.Lock()
        self._since: float | None = None
        self._back_at = 0.0
        self._refuses = False

    def failed(self, exc: BaseException, opened_at: float) -> bool:
        """Note that a call failed on a connection opened then (monotonic s); return whether to pause before the next.

        A connection from before the last outage's end may have died in that outage: no news, and worth another try at
        once on a new one. One that was found dead while the server answered on another is no news either.
        """
        if isinstance(exc, ConnectionForgotten):
            return False
        refuses = isinstance(exc, ResponseError) and not isinstance(exc, BusyLoadingError)
        with self._lock:
            if self._since is not None:
                return True
            if opened_at < self._back_at and not refuses:
                return False
            self._since, self._refuses = time.monotonic(), refuses
            fault = "refuses commands" if refuses else "is unreachable"
            log.warning("Redis %s (%s); retrying until it recovers", fault, str(exc).rstrip("."))
        if self.on_unreachable is not None:
            self.on_unreachable(exc)
        return True

    def succeeded(self, began_at: float, writes: bool = True) -> None:
        """Note that a call which began then (monotonic s) succeeded; one from before the outage tells nothing of it.

        ``writes``: whether a full or read-only server would have refused it.
        """
        if self._since is None:
            return
        with self._lock:
            if self._since is None or began_at < self._since or (self._refuses and not writes):
                return
            log.warning("Redis recovered after %.1f s", time.monotonic() - self._since)
            self._since, self._back_at = None, time.monotonic()
