"""In a child process: forward a handler's calls on its job to the parent, which holds the lease and fencing token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ....base_job import JobOwner
from ....errors import KueError
from ....job import Job
from .channel import Channel


class RemoteOwner:
    """The ``JobOwner`` of the job that runs here. ``queue_owner``: the imported queue's JobOwner, for other calls.

    Calls through the latter (creating jobs, waiting for them) connect to Redis from this process.
    """

    def __init__(self, channel: Channel, queue_owner: JobOwner[Any] | None) -> None:
        self._channel, self._queue_owner = channel, queue_owner
        #: The running job. Calls on other jobs, such as its children, go to the queue.
        self.running_id: int | str | None = None
        #: Attributes that jobs read even without a queue.
        self.job_events: bool = getattr(queue_owner, "job_events", True)
        self.middlewares: Sequence[Any] = getattr(queue_owner, "middlewares", ())

    # Handled by the parent

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

    # Handled by the imported queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._here(), name)

    def _here(self) -> JobOwner[Any]:
        if self._queue_owner is None:
            raise KueError(
                "this job's queue does not exist in its child process: no imported module creates a queue with "
                "this prefix. Call kue.create_queue in the handler's module"
            )
        return self._queue_owner
