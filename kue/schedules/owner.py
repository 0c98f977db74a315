"""What schedules need from their queue."""

from __future__ import annotations

from typing import Protocol

from ..base_job import BaseJob, J, JobOwner


class ScheduleOwner(JobOwner[J], Protocol[J]):
    """Implemented in client/job_store.py."""

    def row(self, job: BaseJob) -> tuple[str, ...]:
        """Return the scripts' arguments for a new job."""

    def get(self, job_id: int | str) -> J:
        """Read a job. Raises JobNotFound."""
