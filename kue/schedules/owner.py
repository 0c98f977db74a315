"""What schedules ask of the queue that they belong to."""

from __future__ import annotations

from typing import Protocol

from ..base_job import BaseJob, J, JobOwner


class ScheduleOwner(JobOwner[J], Protocol[J]):
    """Fulfilled by client/job_store.py."""

    def row(self, job: BaseJob) -> tuple[str, ...]:
        """Return what the scripts take for a new job."""

    def get(self, job_id: int | str) -> J:
        """Read a job. Raises JobNotFound."""
