"""The disk beneath a transfer: room on it, and which bytes have really reached it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from kue.concurrency import real_threads

from .. import messages
from ..errors import DownloadPostponed
from ..request import Bounds
from .partial import Part

#: Time between two looks at the free space, and between two times that bytes are pushed to the disk, seconds.
SPACE_S, SYNC_S = 1.0, 5.0
#: How long a job waits for room on the disk before the next attempt, ms.
NO_ROOM_MS = 60_000


class Disk:
    """Looks after one part while it grows. ``look`` is cheap: call it after every chunk."""

    def __init__(self, part: Part, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._part, self._bounds, self._clock = part, bounds, clock
        self._space_due, self._sync_due = 0.0, clock() + SYNC_S
        self._task: real_threads.Offloaded[None] | None = None
        self._keep: Callable[[], None] = lambda: None

    def need_room(self, missing: int = 0) -> None:
        """Raise DownloadPostponed if ``missing`` bytes more would leave too little room."""
        free = self._part.folder.free_bytes()
        if free - missing < self._bounds.min_free:
            raise DownloadPostponed(
                NO_ROOM_MS,
                f"Waiting for room on the disk: {messages.size(free)} are free, {messages.size(missing)} are needed "
                f"and {messages.size(self._bounds.min_free)} must stay free",
                counts=False,
            )

    def look(self, snapshot: Callable[[], Callable[[], None]]) -> None:
        """Check the free space, and push bytes to the disk, each if it is time.

        ``snapshot`` notes what is written by now and returns a function that records it as safe, to be called later.
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
        """Wait for what still runs."""
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
