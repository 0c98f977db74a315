"""The job passed to an ``async def`` handler: the attempt's job, with methods awaited on the workers' event loop."""

from __future__ import annotations

from typing import Any

from ..async_client.job import AsyncJob
from ..async_client.store import AsyncJobStore
from ..base_job import JobOwner
from ..job import Job
from ..queue import Queue as SyncQueue
from .queue import queue_like


class HandlerJob(AsyncJob):
    """An AsyncJob that shares state with the engine's Job, so it sees when its attempt is stopped."""

    _async_owner: AsyncJobStore

    @property
    def _owner(self) -> Any:  # type: ignore[override]
        return self._async_owner

    # Other jobs of its queue are plain AsyncJobs.

    @classmethod
    def from_hash(cls, owner: JobOwner[Any], job_id: int | str, raw: dict[str, str]) -> Any:
        return AsyncJob.from_hash(owner, job_id, raw)

    @classmethod
    def _jobs_of(cls, jobs: Any) -> list[Any]:
        return AsyncJob._jobs_of(jobs)


class HandlerJobs:
    """Creates the jobs for a queue's async handlers. Their ``queue`` belongs to the loop that runs the handlers."""

    def __init__(self, sync: SyncQueue) -> None:
        self._queue = queue_like(sync)

    def job_of(self, job: Job) -> HandlerJob:
        """Return the same job for an async handler."""
        made = HandlerJob.__new__(HandlerJob)
        made.__dict__ = job.__dict__
        made._async_owner = self._queue._store
        return made

    async def aclose(self) -> None:
        """Close the connections, on the event loop that used them."""
        await self._queue._store.aclose()
