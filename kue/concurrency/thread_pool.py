"""A pool of daemon threads: starting one costs more than a short job, and so does waking one."""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

Work = tuple[Callable[..., object], tuple[object, ...]]


class ThreadPool:
    """Runs functions in daemon threads, which it reuses.

    Short functions share one thread. Another one watches whether it continues: if not, those that wait get threads of
    their own, and the next ones another shared thread.
    """

    #: Seconds after which an idle thread ends.
    IDLE_S = 10.0
    #: Seconds between two looks: a short function waits at most twice as long for one that turns out not to be short.
    LOOK_S = 0.003
    #: Number of looks in vain until the watching thread sleeps.
    LOOKS = 100

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._short: queue.SimpleQueue[Work] = queue.SimpleQueue()
        #: The thread that runs the short functions, whether one runs, and how many have begun.
        self._shared: threading.Thread | None = None
        self._is_busy, self._begun = False, 0
        #: Calls for when no short function waits, or the shared thread turns out to be stuck.
        self._deferred: deque[Callable[[], object]] = deque()
        #: Set while the watching thread looks, and to start it.
        self._look, self._is_watched = threading.Event(), False

    def submit(self, fn: Callable[..., object], *args: object) -> None:
        """Run ``fn(*args)`` in a thread of its own. Raises RuntimeError if none can be started."""
        with self._lock:
            start = self._idle == 0
            if not start:
                self._idle -= 1
        if start:  # first, since it may fail: work queued without a thread would take a later task's thread
            threading.Thread(target=self._loop, name="kue", daemon=True).start()
        self._work.put((fn, args))

    def submit_short(self, fn: Callable[..., object], *args: object) -> None:
        """Run ``fn(*args)``, which is expected to end within microseconds. Raises RuntimeError like ``submit``."""
        if self._shared is None:
            self._start_shared()
        has_to_wait = self._is_busy or not self._short.empty()
        self._short.put((fn, args))
        if (has_to_wait or self._shared is None) and not self._look.is_set():
            self._look.set()

    def after_short(self, fn: Callable[[], object]) -> None:
        """Call ``fn`` now, or, in the shared thread, once no other short function waits: then once for many."""
        if self._shared is None or threading.current_thread() is not self._shared:
            fn()
        elif fn not in self._deferred:
            self._deferred.append(fn)

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
            _run(fn, args)
            del fn, args  # while it waits, it keeps nothing alive
            with self._lock:
                self._idle += 1

    # Short functions

    def _start_shared(self) -> None:
        with self._lock:
            if self._shared is not None:
                return
            if not self._is_watched:
                threading.Thread(target=self._watch, name="kue short jobs", daemon=True).start()
                self._is_watched = True
            self._shared, self._is_busy = threading.Thread(target=self._run_short, name="kue", daemon=True), False
            try:
                self._shared.start()
            except BaseException:
                self._shared = None
                raise

    def _run_short(self) -> None:
        me = threading.current_thread()
        while self._shared is me:
            fn, args = self._short.get()
            self._begun += 1
            self._is_busy = True
            self._call_deferred()  # before the last one, which may be long
            _run(fn, args)
            del fn, args
            self._call_deferred()
            if self._shared is me:
                self._is_busy = False

    def _call_deferred(self) -> None:
        while self._deferred and self._short.empty():
            try:
                fn = self._deferred.popleft()
            except IndexError:  # another thread was faster
                return
            _run(fn, ())

    def _watch(self) -> None:
        while True:
            self._look.wait()
            begun = looks = 0
            while looks < self.LOOKS:
                time.sleep(self.LOOK_S)
                if self._begun != begun:
                    begun, looks = self._begun, 0
                elif not self._short.empty():
                    self._replace_shared()
                else:
                    looks += 1
            self._look.clear()
            if not self._short.empty():  # put before the event was cleared
                self._look.set()

    def _replace_shared(self) -> None:
        """Start the short functions that wait, each in a thread of its own."""
        self._shared = None
        while True:
            try:
                fn, args = self._short.get_nowait()
            except queue.Empty:
                self._call_deferred()
                return
            try:
                self.submit(fn, *args)
            except RuntimeError:  # no thread can be started now: the next look tries again
                self._short.put((fn, args))
                return


def _run(fn: Callable[..., object], args: tuple[object, ...]) -> None:
    try:
        fn(*args)
    except BaseException:  # as threading does, but the thread lives on
        sys.excepthook(*sys.exc_info())
