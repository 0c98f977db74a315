"""Free disk space, and syncing a partial file to the disk in the background."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from kue.concurrency import real_threads

from .. import messages
from ..errors import DiskFull
from ..limits import SizeLimits
from .partial import Part

#: Interval of checking the free space, and of syncing the file, seconds.
SPACE_S, SYNC_S = 1.0, 5.0


class Disk:
    """Watch one partial file while it grows. ``look`` is cheap: call it after each chunk."""

    def __init__(self, part: Part, size_limits: SizeLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._part, self._size_limits, self._clock = part, size_limits, clock
        self._space_due, self._sync_due = 0.0, clock() + SYNC_S
        self._task: real_threads.Offloaded[None] | None = None
        self._keep: Callable[[], None] = lambda: None

    def need_room(self, missing: int = 0) -> None:
        """Raise DiskFull if ``missing`` more bytes would leave too little free space."""
        free = self._part.folder.free_bytes()
        if free - missing < self._size_limits.min_free:
            reserve = self._size_limits.min_free
            plus = f" plus {messages.size(reserve)} reserve" if reserve else ""
            raise DiskFull(f"{messages.size(free)} free, {messages.size(missing)} needed{plus}")

    def look(self, snapshot: Callable[[], Callable[[], None]]) -> None:
        """Check the free space and sync the file, each if it is time.

        ``snapshot`` captures what is written now and returns a function that records it as synced, called later.
        """
        now = self._clock()
        if now < self._space_due:
            return
        self._space_due = now + SPACE_S
        self.need_room()
        if self._task is not None:
            if self._task.done:
                task, self._task = self._task, None
                task.result()
                self._keep()
                self._part.save()
        elif now >= self._sync_due:
            self._sync_due = now + SYNC_S
            self._keep = snapshot()
            self._task = real_threads.Offloaded(_sync, os.dup(self._part.fd))

    def close(self) -> None:
        """Wait for a running sync."""
        if self._task is not None:
            self._task.settle()
            self._task = None


def write_all(fd: int, view: memoryview, position: int) -> None:
    """Write all of ``view`` at ``position``. ``os.pwrite`` goes past eventlet's own ``os.write``."""
    while view:
        written = os.pwrite(fd, view, position)
        view, position = view[written:], position + written


def _sync(fd: int) -> None:
    try:
        getattr(os, "fdatasync", os.fsync)(fd)
    finally:
        os.close(fd)
