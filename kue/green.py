"""Threads, or eventlet's green threads when the process is patched: the library's one import of eventlet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any


def enabled() -> bool:
    """Tell whether eventlet has patched this process's threads."""
    patcher = sys.modules.get("eventlet.patcher")
    return patcher is not None and bool(patcher.is_monkey_patched("thread"))


def original(module: str) -> Any:
    """Return the unpatched form of a standard module, for real threads, sockets and processes."""
    if not enabled():
        return __import__(module)
    from eventlet import patcher

    return patcher.original(module)


def sleep(seconds: float = 0) -> None:
    """Sleep ``seconds``; 0 lets the other (green) threads run."""
    time.sleep(seconds)


def spawn(fn: Callable[..., object], *args: object) -> None:
    """Run ``fn(*args)`` in a (green) thread of its own."""
    if enabled():
        import eventlet

        eventlet.spawn_n(fn, *args)
    else:
        threading.Thread(target=fn, args=args, daemon=True).start()
