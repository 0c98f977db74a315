"""Run user event handlers in a dedicated thread, one after another in the order of the events."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ..concurrency import green
from ..concurrency.essential import run_essential

log = logging.getLogger("kue.events")

#: Maximum number of waiting calls. Beyond it, events are dropped, and handlers get a "resync" later.
BACKLOG_MAX = 100_000


class Registration:
    """A handler and its event. It is only called while ``active``."""

    __slots__ = ("active", "event", "fn")

    def __init__(self, event: str, fn: Callable[..., object]) -> None:
        self.event, self.fn, self.active = event, fn, True


class HasArgs(Protocol):
    @property
    def args(self) -> list[Any]: ...


class Handlers(Protocol):
    """Calls the handlers."""

    def overflows(self) -> bool: ...
    def put(self, registration: Registration, *args: object, args_of: HasArgs | None = None) -> None: ...


class HandlerThread:
    """A thread that runs while calls are pending. After an overflow it catches up, then calls ``after_overflow``."""

    def __init__(self, after_overflow: Callable[[], object]) -> None:
        self._after_overflow = after_overflow
        self._lock = threading.Lock()
        self._calls: deque[tuple[Registration, tuple[object, ...], HasArgs | None]] = deque()
        self._running = self._overflowed = False

    def overflows(self) -> bool:
        """Return whether events are being dropped."""
        if self._overflowed:
            return True
        if len(self._calls) < BACKLOG_MAX:
            return False
        with self._lock:
            self._overflowed = self._running
        if self._overflowed:
            log.warning(
                "Event handlers are too slow: %d calls are waiting; dropping events until they catch up", BACKLOG_MAX
            )
        return self._overflowed

    def put(self, registration: Registration, *args: object, args_of: HasArgs | None = None) -> None:
        """Queue a call of the handler with ``args`` and the arguments of the event ``args_of``."""
        with self._lock:
            self._calls.append((registration, args, args_of))
            start, self._running = not self._running, True
        if start:
            self._start()

    def _start(self) -> None:
        try:
            green.spawn(run_essential, "event handlers", self._run)
        except BaseException:  # no thread could be started: the next call tries again
            self._running = False
            raise

    def _run(self) -> None:
        try:
            while self._next():
                pass
        except BaseException:  # killed from outside: the remaining calls need another thread
            with self._lock:
                again = self._running = bool(self._calls)
            if again:
                self._start()
            raise

    def _next(self) -> bool:
        """Make one call; return False if there was none."""
        with self._lock:
            call = self._calls.popleft() if self._calls else None
            caught_up = call is None and self._overflowed
            if caught_up:
                self._overflowed = False
            elif call is None:
                self._running = False
        if call is None:
            if caught_up:
                self._after_overflow()
            return caught_up
        registration, args, args_of = call
        if registration.active:
            try:
                registration.fn(*args, *(args_of.args if args_of is not None else ()))
            except BaseException as exc:  # includes SystemExit: a handler's sys.exit() must not end the thread
                if green.is_kill(exc):
                    raise
                log.exception("An event handler failed")
        return True
