"""Wait for a job to finish."""

from __future__ import annotations

import time
from typing import Any, Protocol

from ..base_job import BaseJob
from ..errors import InvalidJob, JobFailed, JobNotFound, WaitTimeout
from ..states import COMPLETE, FAILED, TERMINAL_EVENTS
from .events import RESYNC, Listener, first_line

#: Poll interval of an awaited job, in case its event was lost, seconds: first and longest.
POLL_FIRST_S, POLL_S = 1.0, 5.0


class Wake(Protocol):
    """A flag to wait for, like ``threading.Event``."""

    def set(self) -> None: ...
    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


def wait_for(job: BaseJob, listener: Listener, timeout_s: float | None, wake: Wake) -> Any:
    """Wait for a job to finish, and return its result. Raises like ``Job.wait``.

    An event is only a hint to read the job: it may be lost, or belong to an earlier run of a retried job. So the job is
    read after each of its last events, and periodically.
    """
    job_id = job.id
    if job_id is None:
        raise InvalidJob("the job is not saved yet: call save() first")
    events: list[tuple[Any, ...]] = []

    def on_event(event: str, *args: Any) -> None:
        if event in TERMINAL_EVENTS:
            events.append((event, *args))
        if event in (*TERMINAL_EVENTS, RESYNC.event):
            wake.set()

    give_up = None if timeout_s is None else time.monotonic() + timeout_s
    poll_s = POLL_FIRST_S
    with listener.waiting(job_id, on_event):
        while True:
            wake.clear()
            heard = list(events)
            del events[: len(heard)]  # another thread may have appended meanwhile
            try:
                job._fill(job._owner.read(job_id))
            except JobNotFound:
                return _outcome_of_removed(job_id, heard)
            if job.state == COMPLETE:
                return _result(job, heard)
            if job.state == FAILED:
                raise JobFailed(job_id, _message(job, heard))
            left_s = None if give_up is None else give_up - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise WaitTimeout(job_id, timeout_s or 0)
            wake.wait(poll_s if left_s is None else min(left_s, poll_s))
            poll_s = min(2 * poll_s, POLL_S)


def _outcome_of_removed(job_id: int | str, heard: list[tuple[Any, ...]]) -> Any:
    """Return or raise the outcome of a removed job from its last event, as after ``remove_on_complete``."""
    for event, *args in reversed(heard):
        if event == "complete":
            return args[0] if args else None
        if event == "failed":
            raise JobFailed(job_id, str(args[0]) if args else "")
    raise JobNotFound(job_id)


def _result(job: BaseJob, heard: list[tuple[Any, ...]]) -> Any:
    """Return the result of a complete job. A Node worker does not store falsy results: they are only in the event."""
    if "result" not in job.raw and "exact_result" not in job.raw:
        for event, *args in reversed(heard):
            if event == "complete":
                return args[0] if args else None
    return job.result


def _message(job: BaseJob, heard: list[tuple[Any, ...]]) -> str:
    """Return why a job failed: from its event if that matches the stored error, else the error's first line."""
    for event, *args in reversed(heard):
        if event == "failed" and args and args[0] and str(args[0]) in (job.error or ""):
            return str(args[0])
    return first_line(job.error)
