"""Work that blocks (fsync, hashing) in a real OS thread, so that green threads go on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from kue import green

T = TypeVar("T")

#: First and longest wait between two looks at the thread, seconds, under green threads.
FIRST_LOOK_S, LONGEST_LOOK_S = 0.0005, 0.02


class Offloaded(Generic[T]):
    """``fn(*args)`` in a real thread. ``fn`` may use only what works outside the hub: os, hashlib, plain data."""

    def __init__(self, fn: Callable[..., T], *args: Any) -> None:
        self._fn, self._args = fn, args
        self._value: T | None = None
        self._error: BaseException | None = None
        self.done = False
        self._thread = green.original("threading").Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._fn(*self._args)
        except BaseException as exc:
            self._error = exc
        finally:
            self.done = True

    def settle(self) -> None:
        """Wait for the end without looking at how it ended."""
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


def run(fn: Callable[..., T], *args: Any) -> T:
    """Run ``fn(*args)`` so that it holds up no other green thread, and wait for it."""
    return Offloaded(fn, *args).result() if green.enabled() else fn(*args)
