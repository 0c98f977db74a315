"""Short functions run in the thread that spawns them, since waking another thread takes longer.

A thread watches them: if a function is not short after all, another thread takes over what its own has to do.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from .thread_pool import run

Work = tuple[Callable[..., object], tuple[Any, ...]]


class ShortCalls:
    """The short functions that one thread spawns in the ``with`` block, and runs after it.

    ::

        with ShortCalls(watch, take_over) as calls:
            …
        if not calls.run():
            return  # ``take_over()`` was called, and another thread continues

    """

    def __init__(self, watch: Watch, take_over: Callable[[], object]) -> None:
        self._watch, self.take_over = watch, take_over
        self.calls: deque[Work] = deque()
        #: To call when they have run.
        self.deferred: deque[Callable[[], object]] = deque()
        #: How many functions have begun, and how many had at the last look.
        self.begun, self.seen = 0, -1
        self.is_running = self.is_stuck = False

    def __enter__(self) -> ShortCalls:
        self._watch.here.calls = self
        return self

    def __exit__(self, exc_type: type[BaseException] | None, *exc: object) -> None:
        self._watch.here.calls = None
        if exc_type is not None:
            self._watch.give_away(self)

    def run(self) -> bool:
        """Run them; return False if one took long, so that ``take_over`` was called."""
        if not self.calls:
            time.sleep(0)  # lets other threads run
            return True
        self.is_running, self._watch.here.calls = True, self
        self._watch.add(self)
        try:
            while self.calls and not self.is_stuck:
                try:
                    fn, args = self.calls.popleft()
                except IndexError:  # given to another thread
                    break
                self.begun += 1
                run(fn, args)
                del fn, args
            self.call_deferred()
        finally:
            self.is_running, self._watch.here.calls = False, None
            self._watch.remove(self)
        return not self.is_stuck

    def call_deferred(self) -> None:
        while self.deferred:
            try:
                fn = self.deferred.popleft()
            except IndexError:  # another thread was faster
                return
            run(fn, ())


class Watch:
    """Watches the short functions of all threads.

    ``start(fn, *args)`` runs a function in a thread of its own, and raises RuntimeError if none can be started.
    """

    #: Seconds between two looks: other functions wait at most twice as long for one that turns out not to be short.
    LOOK_S = 0.003
    #: Number of looks in vain until the watching thread sleeps: few, or it would never sleep while few jobs come.
    LOOKS = 10

    def __init__(self, start: Callable[..., object]) -> None:
        self._start = start
        self.here = threading.local()  # calls: the ShortCalls of this thread, or None
        self._lock = threading.Lock()
        self._running: set[ShortCalls] = set()
        #: What other threads have to run, and none could be started for yet.
        self._left: deque[Work] = deque()
        #: Set while the watching thread looks, and to start it.
        self._look, self._is_watched = threading.Event(), False

    def spawn(self, fn: Callable[..., object], *args: object) -> bool:
        """Return whether this thread will run ``fn(*args)``, after its ``with`` block."""
        calls = getattr(self.here, "calls", None)
        if calls is None or calls.is_running:
            return False
        calls.calls.append((fn, args))
        return True

    def after(self, fn: Callable[[], object]) -> None:
        """Call ``fn`` now or, among short functions, once after them."""
        calls = getattr(self.here, "calls", None)
        if calls is None or not calls.is_running or calls.is_stuck:
            fn()
        elif fn not in calls.deferred:
            calls.deferred.append(fn)
            if calls.is_stuck:  # since a moment ago
                calls.call_deferred()

    def add(self, calls: ShortCalls) -> None:
        with self._lock:
            self._running.add(calls)
        self._look_soon()

    def remove(self, calls: ShortCalls) -> None:
        with self._lock:
            self._running.discard(calls)

    def give_away(self, calls: ShortCalls) -> None:
        """Run a thread's functions in other threads."""
        while calls.calls:
            try:
                self._left.append(calls.calls.popleft())
            except IndexError:  # its own thread was faster
                break
        if self._left:
            self._look_soon()

    def _look_soon(self) -> None:
        if not self._is_watched:
            with self._lock, contextlib.suppress(RuntimeError):  # no thread can be started: the next call tries again
                if not self._is_watched:
                    threading.Thread(target=self._run, name="kue short jobs", daemon=True).start()
                    self._is_watched = True
        if not self._look.is_set():
            self._look.set()

    def _run(self) -> None:
        while True:
            self._look.wait()
            looks = 0
            while looks < self.LOOKS or self._left:
                time.sleep(self.LOOK_S)
                looks = 0 if self._running else looks + 1
                self._take_over()
            self._look.clear()
            if self._running or self._left:  # added before the event was cleared
                self._look.set()

    def _take_over(self) -> None:
        """Let other threads do what those with a function that is not short cannot do."""
        with self._lock:
            stuck = [each for each in self._running if each.seen == each.begun]
            for each in self._running:
                each.seen = each.begun
            for each in stuck:
                each.is_stuck = True
                self._running.discard(each)
        for each in stuck:
            self._left.append((each.take_over, ()))
            self.give_away(each)
            each.call_deferred()
        while self._left:
            fn, args = self._left[0]
            try:
                self._start(fn, *args)
            except RuntimeError:  # no thread can be started now: the next look tries again
                return
            self._left.popleft()
