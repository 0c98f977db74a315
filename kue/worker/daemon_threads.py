"""Daemon threads for blocking calls of an event loop: they do not delay the end of the process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from ..concurrency import green

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """A ThreadPoolExecutor with daemon threads: the base class joins its threads at exit, however long they block."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self._most, self._busy = most, 0
        self._guard = threading.Lock()
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self._guard:
            self._calls.append((future, lambda: fn(*args, **kwargs)))
            start = self._busy < self._most
            self._busy += start
        if start:
            try:
                green.spawn(self._run)
            except BaseException:
                with self._guard:
                    self._busy -= 1
                raise
        return future

    def _run(self) -> None:
        while True:
            with self._guard:
                if not self._calls:
                    self._busy -= 1
                    return
                future, call = self._calls.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as exc:
                future.set_exception(exc)
            del future, call
