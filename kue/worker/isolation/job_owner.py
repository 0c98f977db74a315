"""In a child process: what a handler does with its job goes to the parent, which holds the job's lease and token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...base_job import JobOwner
from ...errors import KueError
from ...job import Job
from .channel import Channel


class RemoteOwner:
    """The ``JobOwner`` of a job that runs here. ``queue_owner``: that of the queue the child imported, for the rest.

    What it does through that one (creating jobs, waiting for them) connects to Redis from here.
    """

    def __init__(self, channel: Channel, queue_owner: JobOwner[Any] | None) -> None:
        self._channel, self._queue_owner = channel, queue_owner
        #: The job that runs. What is asked of others, such as its children, goes to the queue.
        self.running_id: int | str | None = None
        #: What jobs read without need of a queue.
        self.job_events: bool = getattr(queue_owner, "job_events", True)
        self.middlewares: Sequence[Any] = getattr(queue_owner, "middlewares", ())

    # By the parent

    def log(self, job_id: int | str, token: str, line: str) -> None:
        if job_id != self.running_id:
            return self._here().log(job_id, token, line)
        self._channel.ask("log", line)

    def progress(self, job: Job, token: str, percent: int, data: str, keep: bool) -> None:
        if job.id != self.running_id:
            return self._here().progress(job, token, percent, data, keep)
        self._channel.ask("progress", percent, data, keep)

    def read(self, job_id: int | str) -> dict[str, str]:
        if job_id != self.running_id:
            return self._here().read(job_id)
        raw: dict[str, str] = self._channel.ask("read")
        return raw

    def children(self, job_id: int | str) -> Iterator[list[tuple[int | str, str]]]:
        after = 0
        while after is not None:
            page, after = self._channel.ask("children", job_id, after)
            yield page

    def hashes(self, job_ids: Sequence[int | str]) -> list[dict[str, str]]:
        raw: list[dict[str, str]] = self._channel.ask("hashes", job_ids)
        return raw

    def remove(self, job_id: int | str) -> None:
        if job_id != self.running_id:
            return self._here().remove(job_id)
        self._channel.ask("remove")

    def cancel(self, job_id: int | str) -> None:
        if job_id != self.running_id:
            return self._here().cancel(job_id)
        self._channel.ask("cancel")

    # By the queue that was imported here

    def __getattr__(self, name: str) -> Any:
        return getattr(self._here(), name)

    def _here(self) -> JobOwner[Any]:
        if self._queue_owner is None:
            raise KueError(
                "this job's queue is not at hand in its child process: the modules that it imports create none with "
                "this prefix; call kue.create_queue"
            )
        return self._queue_owner
