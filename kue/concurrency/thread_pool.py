"""A pool of daemon threads: starting one costs more than a short job."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable

Work = tuple[Callable[..., object], tuple[object, ...]]


class ThreadPool:
    """Runs functions in daemon threads, which it reuses."""

    #: Seconds after which an idle thread ends.
    IDLE_S = 10.0

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def submit(self, fn: Callable[..., object], *args: object) -> None:
        """Run ``fn(*args)`` in a thread of its own. Raises RuntimeError if none can be started."""
        with self._lock:
            start = self._idle == 0
            if not start:
                self._idle -= 1
        if start:  # first, since it may fail: work queued without a thread would take a later task's thread
            threading.Thread(target=self._loop, name="kue", daemon=True).start()
        self._work.put((fn, args))

    def _loop(self) -> None:
        while True:
            try:
                fn, args = self._work.get(timeout=self.IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:
                        self._idle -= 1
                        return
                continue  # work was assigned to this thread meanwhile
            run(fn, args)
            del fn, args  # while it waits, it keeps nothing alive
            with self._lock:
                self._idle += 1


def run(fn: Callable[..., object], args: tuple[object, ...]) -> None:
    """Call ``fn(*args)``; an error is reported as ``threading`` does, but the thread lives on."""
    try:
        fn(*args)
    except BaseException:
        sys.excepthook(*sys.exc_info())
