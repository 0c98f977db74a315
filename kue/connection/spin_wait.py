"""Spin-wait briefly for replies that arrive within a scheduler tick.

An idle core goes to sleep, and on a virtual machine waking it takes longer than a local server needs to reply. So a
thread that makes many calls spins briefly before it sleeps: only while no other green thread can run, yielding the core
to other programs, and not if replies arrive later anyway.
"""

from __future__ import annotations

import os
import time
from typing import Any

from ..concurrency import green

#: Longest spin, seconds.
SPIN_S = 0.0002
#: Calls closer together than this form a run, seconds; an isolated call does not spin.
RUN_S = 0.001
#: Number of calls that do not spin after a late reply: first, and maximum.
SKIP_FIRST, SKIP_MAX = 2, 1024


class SpinWait:
    """Spin-waits for the replies of one connection, one after another."""

    def __init__(self) -> None:
        select = green.original("select")
        can = hasattr(select, "poll") and hasattr(os, "sched_yield") and (os.cpu_count() or 1) > 1
        self._poll: Any = select.poll() if can else None
        self._watched: set[int] = set()
        self._skip, self._left = SKIP_FIRST, 0
        self._ended_at = 0.0

    def wait(self, fd: int) -> bool:
        """Return whether ``fd`` is readable, within SPIN_S. If not, the caller waits as usual."""
        if self._poll is None:
            return False
        began_at, ended_at = time.perf_counter(), self._ended_at
        if began_at - ended_at > RUN_S or self._left or (others := green.others()) is None:
            self._left = max(0, self._left - 1)
            self._ended_at = began_at
            return False
        has_come = False
        self._watch({fd, *others})
        while not (readable := self._poll.poll(0)):
            if time.perf_counter() - began_at > SPIN_S:
                self._left, self._skip = self._skip, min(SKIP_MAX, self._skip * 2)
                break
            os.sched_yield()
        else:
            has_come = any(each == fd for each, _ in readable)
            if has_come:
                self._skip = SKIP_FIRST
        self._ended_at = time.perf_counter()
        return has_come

    def _watch(self, fds: set[int]) -> None:
        if fds != self._watched:
            for fd in self._watched - fds:
                self._poll.unregister(fd)
            for fd in fds:
                self._poll.register(fd, green.original("select").POLLIN)
            self._watched = fds
