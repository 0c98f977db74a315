"""Event loop lag: how late tasks wake up in a busy process."""

from __future__ import annotations

import collections
import threading
import time


class LoopLag:
    """Sleeps STEP_S repeatedly and records how much longer each sleep took."""

    STEP_S = 0.25
    #: Length of the window of the maximum, seconds.
    WINDOW_S = 15.0

    def __init__(self) -> None:
        self._late: collections.deque[float] = collections.deque(maxlen=int(self.WINDOW_S / self.STEP_S))
        self._stopping = threading.Event()

    @property
    def worst_s(self) -> float:
        return max(self._late, default=0.0)

    def run(self) -> None:
        """Measure until stopped; runs in one task."""
        while True:
            begun = time.monotonic()
            if self._stopping.wait(self.STEP_S):
                return
            self._late.append(max(0.0, time.monotonic() - begun - self.STEP_S))

    def stop(self) -> None:
        self._stopping.set()
