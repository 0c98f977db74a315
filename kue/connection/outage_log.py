"""Log one line when Redis becomes unreachable, and one with the duration when it recovers, for all connections."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from redis.exceptions import BusyLoadingError, ResponseError

from .liveness import ConnectionForgotten

log = logging.getLogger("kue")


class Outage:
    """Whether Redis is unreachable, from all connections of a queue in this process."""

    def __init__(self) -> None:
        #: Called with the first error of an outage.
        self.on_unreachable: Callable[[BaseException], object] | None = None
        self._lock = threading.Lock()
        self._since: float | None = None
        self._back_at = 0.0
        self._refuses = False

    def failed(self, exc: BaseException, opened_at: float) -> bool:
        """Record a failed call on a connection opened at ``opened_at``, monotonic s; return whether to pause now.

        A connection opened before the last outage ended may have died in that outage: this is no new outage, and a
        retry on a new connection needs no pause. The same holds for one found dead while the server replied on another.
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
        """Record a successful call that began at ``began_at`` (monotonic s). Calls from before the outage do not count.

        ``writes``: whether a full or read-only server would have refused it.
        """
        if self._since is None:
            return
        with self._lock:
            if self._since is None or began_at < self._since or (self._refuses and not writes):
                return
            log.warning("Redis recovered after %.1f s", time.monotonic() - self._since)
            self._since, self._back_at = None, time.monotonic()
