"""Limits shared by all processes: slots per host, held in Redis by running attempts, and shares of the bandwidth."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kue.errors import KueError

from .limits import HostBusy
from .progress import JobLike

if TYPE_CHECKING:
    from kue.queue import Queue

log = logging.getLogger("kue.downloads")

#: Slots of a host without a limit: downloads are registered anyway, in case a limit is set later.
UNLIMITED = 10**9


class SharedLimits:
    """The limits shared by the downloads of one queue. ``job_type`` is the type of its download jobs."""

    def __init__(self, queue: Queue, job_type: str = "startdownload") -> None:
        self._queue, self._type = queue, job_type

    @contextmanager
    def slot(self, job: JobLike, host: str, per_host: int | None) -> Iterator[None]:
        """Hold a slot of ``host`` among the downloads of all processes. Raises HostBusy.

        While Redis is unreachable, or for a job that no worker reserved, only this process's own limits hold.
        """
        session, token = self._queue.session, getattr(job, "_token", "")
        name = f"download:{host}"
        if not token:
            yield
            return
        try:
            running = session.call(
                lambda client: session.scripts.take_slot(client, name, job.id, token, per_host or UNLIMITED)
            )
        except (KueError, OSError) as exc:
            log.warning("Job %s: cannot check its host's downloads in other processes: %s", job.id, exc)
            running = 0
        if running:
            raise HostBusy(running)
        try:
            yield
        finally:
            try:
                session.call(lambda client: session.scripts.return_slot(client, name, job.id, token), 0)
            except (KueError, OSError):
                pass  # the slot is freed at the end of the attempt in any case

    def running_elsewhere(self, here: int) -> int:
        """Return the number of downloads in other processes, given that ``here`` run in this one."""
        return max(0, self._queue.active_count(self._type) - here)
