"""The exceptions of the library."""

from __future__ import annotations

import math
from datetime import timedelta

from .durations import in_ms


class KueError(Exception):
    """Base class of the library's errors."""


class InvalidJob(KueError, ValueError):
    """A job, option or argument is invalid. The message says what to write instead."""


class DuplicateJob(KueError):
    """Raised by ``save`` of a job with ``unique(on_duplicate="reject")``. ``job_id`` is the existing job."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"job {job_id} already exists with the same unique key; this one was not saved")
        self.job_id = job_id


class JobNotFound(KueError, LookupError):
    """The job does not exist: it was removed, or never saved."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"job {job_id} does not exist")
        self.job_id = job_id


class ScheduleNotFound(KueError, LookupError):
    """The schedule does not exist: it was removed, or never created."""

    def __init__(self, name: str) -> None:
        super().__init__(f"schedule {name!r} does not exist")
        self.name = name


class WebhookNotFound(KueError, LookupError):
    """The webhook does not exist: it was removed, or never created."""

    def __init__(self, name: str) -> None:
        super().__init__(f"webhook {name!r} does not exist")
        self.name = name


class WrongState(KueError):
    """The operation is not possible in the job's current state. Read the job again before you retry."""

    def __init__(self, job_id: object, expected: str, found: str | None) -> None:
        super().__init__(f"job {job_id} is {found or 'in no state'}, not {expected}")
        self.job_id, self.expected, self.found = job_id, expected, found


class LeaseLost(KueError):
    """This attempt no longer holds the job: it timed out, or was cancelled, moved or rescued.

    The attempt's further writes are discarded. The handler should stop.
    """

    def __init__(self, job_id: object) -> None:
        super().__init__(f"this attempt no longer holds job {job_id}; nothing was changed")
        self.job_id = job_id


class JobFailed(KueError):
    """Raised by ``job.wait``: the job failed for good. ``error`` is the message of its last attempt."""

    def __init__(self, job_id: object, error: str) -> None:
        super().__init__(f"job {job_id} failed: {error}")
        self.job_id, self.error = job_id, error


class WaitTimeout(KueError, TimeoutError):
    """``job.wait`` timed out. The job is not affected; waiting again is safe."""

    def __init__(self, job_id: object, timeout_s: float) -> None:
        super().__init__(f"job {job_id} did not finish within {timeout_s:g} s; it is still waiting or running")
        self.job_id, self.timeout_s = job_id, timeout_s


class InvalidAddress(KueError, ValueError):
    """A Redis URL is invalid. The message says what to write instead."""


class QueueUnavailable(KueError, ConnectionError):
    """Redis is unreachable, or refuses writes. The call may or may not have taken effect; try again later.

    Saving the same Job objects again is safe for ten minutes: a job that was created although the reply was lost is not
    created twice.
    """

    def __init__(self, message: str = "", reason: BaseException | None = None) -> None:
        super().__init__(message)
        #: The connection's or the server's error; None if unknown.
        self.reason = reason


class UnrecoverableError(KueError):
    """Raise it in a handler to fail the job for good, even if attempts are left."""

    #: The message explains the failure, so the job stores only the message, without class name and traceback. Any
    #: exception class may set this.
    expected = True


class RetryLater(KueError):
    """Raise it in a handler to fail the attempt and start the next one after ``delay_ms`` (ms, or a timedelta).

    A negative delay counts as 0. With ``counts`` False the attempt neither fails nor counts: the job becomes delayed,
    with the message in its log.
    """

    expected = True

    def __init__(self, delay_ms: float | timedelta, message: str = "retry later", *, counts: bool = True) -> None:
        super().__init__(message)
        ms = in_ms(delay_ms)
        if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not math.isfinite(ms):
            raise InvalidJob(f"RetryLater: delay_ms must be a number of milliseconds, or a timedelta, not {delay_ms!r}")
        self.delay_ms, self.counts = max(0, int(ms)), counts


class RateLimited(RetryLater):
    """Raise it in a handler when a service asks to wait ``retry_after_ms`` (ms, or a timedelta), as with HTTP 429.

    The job is delayed for that time, and the attempt is not counted. Meanwhile no other job of its key starts in any
    process; if the type has no limit by key, no other job of its type.
    """

    def __init__(self, retry_after_ms: float | timedelta, message: str = "rate limited") -> None:
        super().__init__(retry_after_ms, message, counts=False)
        self.retry_after_ms = self.delay_ms


class JobInterrupt(BaseException):
    """Stops a running handler. A BaseException, so that a handler's ``except Exception`` does not catch it."""


class JobTimeout(JobInterrupt):
    """The attempt ran past the job's ttl; it is already recorded as failed."""


class JobCancelled(JobInterrupt):
    """An operator cancelled or suspended the job."""


class WorkerStopping(JobInterrupt):
    """The worker's grace period is over; the job is released and runs again elsewhere."""
