"""The exceptions of the library. Each says what the caller can do."""

from __future__ import annotations

import math
from datetime import timedelta

from .durations import in_ms


class KueError(Exception):
    """Base of all errors that the library raises on purpose."""


class InvalidJob(KueError, ValueError):
    """A job, option or argument that cannot be stored; the message says what to write instead."""


class DuplicateJob(KueError):
    """Raised by ``save`` of a job with ``unique(on_duplicate="reject")``: ``job_id`` is the one that is there."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"job {job_id} is there already with the same unique key; this one was not saved")
        self.job_id = job_id


class JobNotFound(KueError, LookupError):
    """There is no such job: it was removed, or never saved."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"job {job_id} does not exist")
        self.job_id = job_id


class ScheduleNotFound(KueError, LookupError):
    """There is no such schedule: it was removed, or never made."""

    def __init__(self, name: str) -> None:
        super().__init__(f"schedule {name!r} does not exist")
        self.name = name


class WebhookNotFound(KueError, LookupError):
    """There is no such webhook: it was removed, or never made."""

    def __init__(self, name: str) -> None:
        super().__init__(f"webhook {name!r} does not exist")
        self.name = name


class WrongState(KueError):
    """The job is not in a state from which this step is possible; read it again before another try."""

    def __init__(self, job_id: object, expected: str, found: str | None) -> None:
        super().__init__(f"job {job_id} is {found or 'in no state'}, not {expected}")
        self.job_id, self.expected, self.found = job_id, expected, found


class LeaseLost(KueError):
    """This attempt no longer holds the job: it was timed out, cancelled, moved or given to another worker.

    Nothing that the attempt writes is kept. A handler that sees this should stop.
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
    """``job.wait`` reached its time limit. The job is unaffected; waiting again is safe."""

    def __init__(self, job_id: object, timeout_s: float) -> None:
        super().__init__(f"job {job_id} had not finished after {timeout_s:g} s; it is still waiting or running")
        self.job_id, self.timeout_s = job_id, timeout_s


class InvalidAddress(KueError, ValueError):
    """A Redis URL that cannot be used; the message says what to write instead."""


class QueueUnavailable(KueError, ConnectionError):
    """Redis is unreachable, or refuses writes. The call may or may not have taken effect; try again later.

    Saving the same Job objects again is safe for ten minutes: a job that was created although its answer was lost is
    found, not created twice.
    """

    def __init__(self, message: str = "", reason: BaseException | None = None) -> None:
        super().__init__(message)
        #: The error of the connection, or of the server that refused; None if unknown.
        self.reason = reason


class UnrecoverableError(KueError):
    """Raised by a handler: fail the job for good, whatever attempts are left."""

    #: The message explains the failure, so the job stores it alone, without class name and traceback. Any exception
    #: class may say so.
    expected = True


class RetryLater(KueError):
    """Raised by a handler: this attempt failed, and the next one starts after ``delay_ms`` (ms, or a timedelta).

    A delay that lies in the past is 0. With ``counts`` False it is no failure: the job waits as delayed, with the
    message in its log, and the attempt is not counted.
    """

    expected = True

    def __init__(self, delay_ms: float | timedelta, message: str = "retry later", *, counts: bool = True) -> None:
        super().__init__(message)
        ms = in_ms(delay_ms)
        if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not math.isfinite(ms):
            raise InvalidJob(f"RetryLater: delay_ms must be a number of milliseconds, or a timedelta, not {delay_ms!r}")
        self.delay_ms, self.counts = max(0, int(ms)), counts


class RateLimited(RetryLater):
    """Raised by a handler: a service asks to wait for ``retry_after_ms`` (ms, or a timedelta), as by an HTTP 429.

    The job waits for that time, its attempt not counted, and no other job of its key starts meanwhile, in whatever
    process; none of its type, if that has no limit by key.
    """

    def __init__(self, retry_after_ms: float | timedelta, message: str = "rate limited") -> None:
        super().__init__(retry_after_ms, message, counts=False)
        self.retry_after_ms = self.delay_ms


class JobInterrupt(BaseException):
    """Stops a running handler. A BaseException, so that a handler's ``except Exception`` lets it through."""


class JobTimeout(JobInterrupt):
    """The attempt ran past the job's ttl; it is already recorded as failed."""


class JobCancelled(JobInterrupt):
    """An operator cancelled or suspended the job."""


class WorkerStopping(JobInterrupt):
    """The worker's grace period is over; the job is released and runs again elsewhere."""
