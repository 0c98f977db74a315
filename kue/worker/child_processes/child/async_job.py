"""The job of an async handler in a child process: a Job with awaitable methods that make their calls in threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from typing import Any

from ....job import Job
from ....storage.arguments import check_callable, check_job_event
from ...daemon_threads import DaemonThreads

#: Maximum number of concurrent calls of the handler.
CALLS_MAX = 16
#: Maximum number of concurrent waits for other jobs; each takes a thread.
WAITS_MAX = 1000

_calls, _waits = DaemonThreads(CALLS_MAX), DaemonThreads(WAITS_MAX)


def _after_fork() -> None:
    """Called in a forked child: forget the parent's threads."""
    global _calls, _waits
    _calls, _waits = DaemonThreads(CALLS_MAX), DaemonThreads(WAITS_MAX)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class AsyncJob(Job):
    """The job passed to an async handler in a child process."""

    async def save(self) -> AsyncJob:  # type: ignore[override]
        """Create the job, or update its data and options if it exists. Raises like ``Job.save``."""
        await _call(super().save)
        return self

    async def refresh(self) -> AsyncJob:  # type: ignore[override]
        """Read the job again. Raises JobNotFound."""
        await _call(super().refresh)
        return self

    async def remove(self) -> None:  # type: ignore[override]
        """Remove the job in whatever state it is. Raises JobNotFound."""
        await _call(super().remove)

    async def cancel(self) -> None:  # type: ignore[override]
        """Fail the job with the error "Cancelled". Raises JobNotFound, or WrongState if it has ended."""
        await _call(super().cancel)

    def on(self, event: str, fn: Callable[..., object]) -> AsyncJob:
        """Call ``fn(*args)`` on the event loop for each ``event`` of this job. Listening starts in the background."""
        check_callable(fn, "the handler of an event")
        loop = asyncio.get_running_loop()
        _calls.submit(super().on, check_job_event(event), lambda *args: loop.call_soon_threadsafe(fn, *args))
        return self

    async def wait(self, timeout_s: float | timedelta | None = None) -> Any:
        """Wait until the job has finished, and return its result. Raises like ``Job.wait``."""
        return await asyncio.get_running_loop().run_in_executor(_waits, super().wait, timeout_s)

    async def log(self, template: Any, *args: Any) -> None:  # type: ignore[override]
        """Append a line to the job's log, printf style. Raises like ``Job.log``."""
        self._raise_if_interrupted()
        await _call(super().log, template, *args)

    async def progress(self, done: float, total: float = 100, data: Any = None) -> None:  # type: ignore[override]
        """Report progress: ``done`` of ``total``, with any JSON. Restarts the ttl. Raises like ``Job.progress``."""
        self._raise_if_interrupted()
        await _call(super().progress, done, total, data)

    # Flows

    async def add_children(self, jobs: Job | Iterable[Job]) -> None:  # type: ignore[override]
        """Save new jobs as this one's children, atomically. Raises like ``Job.add_children``."""
        self._raise_if_interrupted()
        await _call(super().add_children, jobs)

    async def children(self) -> AsyncIterator[AsyncJob]:  # type: ignore[override]
        """Yield the jobs that this one waits for, or waited for, in order. Removed jobs are skipped."""
        for child in await _call(list, super().children()):
            yield async_job(child)

    async def child_results(self) -> AsyncIterator[tuple[int | str, Any]]:  # type: ignore[override]
        """Yield (id, result) for each completed child, in order. Removed jobs are skipped."""
        for each in await _call(list, super().child_results()):
            yield each


def async_job(job: Job) -> AsyncJob:
    """Return the same job for an async handler. Both share one state, so it sees the engine's changes."""
    made = AsyncJob.__new__(AsyncJob)
    made.__dict__ = job.__dict__
    return made


async def _call(fn: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_calls, fn, *args)
