"""A job of a task for asyncio programs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Generic, TypeVar

from .job import AsyncJob, AsyncJobOwner

R = TypeVar("R")


class AsyncTypedJob(AsyncJob, Generic[R]):
    """A job created by ``task.acreate``: ``await job.wait()`` returns a value of the task function's return type."""

    def __init__(self, owner: AsyncJobOwner, job_type: str, data: Any, read_result: Callable[[Any], R]) -> None:
        super().__init__(owner, job_type, data)
        self._read_result = read_result

    async def wait(self, timeout_s: float | timedelta | None = None) -> R:
        """Wait until the job has finished, and return its result in the declared type.

        Raises the same errors as ``Job.wait``, and InvalidJob if another worker's result is not of that type.
        """
        return self._read_result(await super().wait(timeout_s))
