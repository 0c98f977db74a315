"""Limits that can be changed while downloads run: stored in Redis and applied by every worker process."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from kue.concurrency import green
from kue.errors import KueError

from .handler import DownloadHandler
from .limits import check_limit
from .shared_limits import SharedLimits

if TYPE_CHECKING:
    from kue.queue import Queue

log = logging.getLogger("kue.downloads")

#: What can be changed, and the field of ``q:settings`` that holds it: a number, or "none" for no limit.
FIELDS = {"rate": "download_rate", "per_host": "download_per_host", "min_free": "download_min_free"}
NO_LIMIT = "none"
#: Interval of checking for changes, seconds.
LOOK_S = 2.0
#: Interval of counting the downloads that share the bandwidth, seconds.
SHARE_S = 0.5


def change_limits(queue: Queue, **limits: int | None) -> None:
    """Change ``rate`` (bytes per second), ``per_host`` or ``min_free`` (bytes) for all processes of a queue.

    None means no limit. Each process applies them to its own downloads. Raises ValueError, and then changes nothing,
    for an invalid limit.
    """
    checked: dict[str, str | None] = {}
    for name, number in limits.items():
        if name not in FIELDS:
            raise ValueError(f"unknown limit {name!r}; expected {', '.join(FIELDS)}")
        number = check_limit(name, number)
        checked[FIELDS[name]] = NO_LIMIT if number is None else str(number)
    queue.change_settings(checked)


def changed_limits(queue: Queue) -> dict[str, int | None]:
    """Return the changed limits; the others are those each process was started with."""
    found: dict[str, int | None] = {}
    for name, text in zip(FIELDS, queue.settings(*FIELDS.values()), strict=True):
        if text == NO_LIMIT:
            found[name] = None
        elif text is not None and text.isdecimal():
            found[name] = int(text)
    return found


class LimitFollower:
    """Apply the limits in Redis to one handler, from ``start`` to ``stop``, and share its limits across processes.

    ``job_type``: the type of the jobs that share the limits.
    """

    def __init__(self, queue: Queue, handler: DownloadHandler, job_type: str = "startdownload") -> None:
        self._queue, self._handler = queue, handler
        handler.shared = SharedLimits(queue, job_type)
        self._own = handler.current()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start a (green) thread."""
        green.spawn(self._run)

    def stop(self) -> None:
        """Stop within LOOK_S."""
        self._stopping.set()

    def look(self) -> None:
        """Apply changed limits."""
        changed, current = changed_limits(self._queue), self._handler.current()
        for name in FIELDS:
            wanted = changed.get(name, self._own[name])
            if name == "min_free":
                wanted = wanted or 0
            if wanted != current[name]:
                try:
                    self._handler.change(**{name: wanted})
                    log.info("Download limit %s set to %s", name, NO_LIMIT if wanted is None else wanted)
                except ValueError as exc:  # another program wrote it
                    log.warning("Download limit %s not changed: %s", name, exc)

    def _run(self) -> None:
        look_at = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= look_at:
                    self.look()
                    look_at = time.monotonic() + LOOK_S
                self._handler.share_rate()
            except (KueError, OSError):
                pass  # Redis is unreachable; the workers log it
            self._stopping.wait(SHARE_S)
