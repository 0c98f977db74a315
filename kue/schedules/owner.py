"""What schedules ask of the queue that they belong to."""

from __future__ import annotations

from typing import Protocol

from ..job import Job, JobOwner


class ScheduleOwner(JobOwner, Protocol):
    """Fulfilled by client/job_store.py."""

    def row(self, job: Job) -> tuple[str, ...]:
        """Return what the scripts take for a new job."""

    def get(self, job_id: int) -> Job:
        """Read a job. Raises JobNotFound."""
