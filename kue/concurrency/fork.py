"""What a forked process must discard if its parent had used a queue: connections, threads and locks.

The child has a copy of every object, but only the thread that forked. Two processes sharing a socket would mix up their
replies, a lock held by another thread at that moment is never released, and the parent's threads do not exist.
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
    """Call ``queue._after_fork()`` in each forked child, as long as the queue exists."""
    _queues.add(queue)


def _in_child() -> None:
    green.after_fork()
    for queue in list(_queues):
        queue._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
