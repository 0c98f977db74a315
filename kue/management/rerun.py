"""Run a job again as a new one: same options, the same or other data, each knowing the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..job import Job

if TYPE_CHECKING:
    from ..queue import Queue


def run_as_new(queue: Queue, job_id: int | str, data: Any = None) -> Job:
    """Save a copy of a job in whatever state, to run at once, and return it; ``data`` replaces the original's.

    The copy's hash names the original in ``copy_of``, the original's the copies in ``copies``. A delay is not copied,
    nor is a backoff that a Node producer wrote as JavaScript. Raises JobNotFound, InvalidJob.
    """
    job = queue.get(job_id)
    options = job.options
    copy = queue.create(job.type, job.data if data is None else data)
    copy.attempts(options.attempts or 1).priority(options.priority).ttl(options.ttl_ms)
    copy.remove_on_complete(options.remove_on_complete)
    if options.backoff is not None:
        copy.options.backoff = options.backoff  # one by a name that only other processes know is fine as well
    copy.save()
    queue._ask(lambda client: queue._scripts.run(client, "link_rerun", copy.id, job_id))
    return copy


def original_of(job: Job) -> str | None:
    """Return the id of the job that this one was copied from."""
    return job.raw.get("copy_of")


def copies_of(job: Job) -> list[str]:
    """Return the ids of the newest copies of a job, oldest first; some may be removed meanwhile."""
    return [each for each in job.raw.get("copies", "").split(",") if each]
