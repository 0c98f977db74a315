"""What a process must discard that was forked after it had used a queue: the parent's connections, threads and locks.

The child has a copy of every object, but only of the thread that forked. A socket that both write to mixes up their
answers, a lock that another thread held at that moment is never released, and the parent's threads do not exist.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet

from . import green


class Forkable(Protocol):
    def _after_fork(self) -> None: ...


_queues: WeakSet[Forkable] = WeakSet()


def watch(queue: Forkable) -> None:
    """Let ``queue._after_fork()`` be called in each child process, as long as the queue lives."""
    _queues.add(queue)


def _in_child() -> None:
    green.after_fork()
    for queue in list(_queues):
        queue._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
