"""Run blocking work (fsync, hashing, DNS lookups) in an OS thread, so that green threads continue."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from kue.concurrency import green

T = TypeVar("T")

#: First and longest poll interval under green threads, seconds.
FIRST_LOOK_S, LONGEST_LOOK_S = 0.0005, 0.02


class Offloaded(Generic[T]):
    """``fn(*args, **options)`` in an OS thread. It may only use what works outside the hub: os, hashlib, plain data."""

    def __init__(self, fn: Callable[..., T], *args: Any, **options: Any) -> None:
        self._fn, self._args, self._options = fn, args, options
        self._value: T | None = None
        self._error: BaseException | None = None
        self.done = False
        self._thread = green.original("threading").Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._fn(*self._args, **self._options)
        except BaseException as exc:
            self._error = exc
        finally:
            self.done = True

    def settle(self) -> None:
        """Wait for the end, ignoring the result."""
        if not green.enabled():
            self._thread.join()
        wait_s = FIRST_LOOK_S
        while not self.done:
            green.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_LOOK_S)

    def result(self) -> T:
        """Wait for the end; return what ``fn`` returned or raise what it raised."""
        self.settle()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def look_names_up_aside() -> None:
    """Resolve names with the system's resolver in OS threads, in a process patched with ``EVENTLET_NO_GREENDNS=yes``.

    With that setting eventlet does not load its own resolver, which saves 7 MB; but a lookup would block all green
    threads. The system's resolver also honors all of the machine's configuration, not only ``resolv.conf``.
    """
    if not green.enabled() or os.environ.get("EVENTLET_NO_GREENDNS", "").lower() != "yes":
        return
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
        for module in (socket, sys.modules["eventlet.green.socket"]):
            setattr(module, name, _aside(getattr(green.original("socket"), name)))


def _aside(look_up: Callable[..., T]) -> Callable[..., T]:
    def aside(host: Any, *args: Any, **options: Any) -> T:
        address = not isinstance(host, str | bytes) or re.fullmatch(r"[0-9.]*|.*:.*", os.fsdecode(host))
        return look_up(host, *args, **options) if address else run(look_up, host, *args, **options)

    return aside


def run(fn: Callable[..., T], *args: Any, **options: Any) -> T:
    """Run ``fn(*args)`` without blocking other green threads, and wait for it."""
    return Offloaded(fn, *args, **options).result() if green.enabled() else fn(*args, **options)
