"""Turn the end of an attempt into its outcome for Redis: a result, or a failure and when the job runs again."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Mapping
from types import FrameType
from typing import Any, NamedTuple

from .. import backoff
from ..base_job import WAIT
from ..errors import JobInterrupt, LeaseLost, RateLimited, RetryLater, UnrecoverableError, WorkerStopping
from ..job import Job
from ..storage.codec import is_truthy, to_json, utf8
from ..storage.script_values import Outcome

#: Longest error text kept in a job, characters; the rest is cut.
ERROR_MAX = 20_000
#: The modules that call handlers.
CALLERS = ("kue.worker.", "kue.tasks.", "kue.middleware")
#: Frames of a long traceback that are kept: those of the handler's entry, and those next to the error.
FRAMES_OUTER, FRAMES_INNER = 10, 40
_LIBRARY = __name__.partition(".")[0]


class DoneError(Exception):
    """A failure that a handler gave to ``done`` as something else than an exception."""

    expected = True


class Failure(NamedTuple):
    """Why an attempt failed, in plain values, so that a child process can send it.

    ``error`` is what the job keeps: class, message and the handler's stack, or the message alone of an expected
    failure. ``line`` goes to its log, ``message`` into its events. ``delay_ms``: when the handler says so, it runs
    again after that; with ``counts`` False the attempt is not counted, and with ``holds_back`` no other job of its
    key or type starts meanwhile. ``final``: it is not retried. ``crashed``: the child process that ran it died.
    """

    error: str
    line: str
    message: str
    delay_ms: int | None = None
    counts: bool = True
    final: bool = False
    crashed: bool = False
    holds_back: bool = False


class RemoteError(Exception):
    """Why an attempt failed in a child process: on one line, and the handler's stack there."""

    def __init__(self, head: str, stack: str) -> None:
        super().__init__(head)
        self.head, self.stack = head, stack


def completed(job: Job, result: Any) -> Outcome:
    """Return the outcome of a handler that returned. Raises what JSON cannot hold."""
    if result is WAIT:
        return Outcome("release", str(job.id), job._token, ("Waiting for its children", "children"))
    return Outcome("complete", str(job.id), job._token, (to_json(result), "1" if is_truthy(result) else "0"))


def raised(job: Job, exc: BaseException, backoffs: Mapping[str, backoff.BackoffFunction]) -> Outcome | None:
    """Return the outcome of a handler that raised, or None if there is nothing left to say about the job."""
    if isinstance(exc, WorkerStopping):
        return released(str(job.id), job._token)
    return None if has_lost_job(job, exc) else failed(job, describe(exc), backoffs)


def has_lost_job(job: Job, exc: BaseException) -> bool:
    """Tell whether a handler raised this because its attempt has lost the job, of which there is nothing left to say.

    A lost lease may be some other job's, and an interrupt the handler's own doing: these are ordinary failures.
    """
    if isinstance(exc, LeaseLost):
        return bool(exc.job_id == job.id)
    return isinstance(exc, JobInterrupt) and job._interrupt is not None


def describe(exc: BaseException) -> Failure:
    """Return what is kept of an exception."""
    if isinstance(exc, DoneError):
        # As Node logs an error that is a plain string: an empty line.
        error = message = str(exc)
        line = ""
    elif is_expected(exc):
        error = message = _text_of(exc) or type(exc).__name__
        line = error.partition("\n")[0]
    else:
        message = _text_of(exc) or type(exc).__name__
        head = ": ".join(filter(None, (type(exc).__name__, _text_of(exc))))
        error = "\n".join([head, *_stack(exc)]).rstrip()
        line = error.partition("\n")[0]
    if isinstance(exc, RetryLater):
        return Failure(error, line, message, exc.delay_ms, exc.counts, holds_back=isinstance(exc, RateLimited))
    return Failure(error, line, message, final=isinstance(exc, UnrecoverableError))


def as_error(failure: Failure) -> Exception:
    """Return an exception that stands for a failure, for the log."""
    if failure.delay_ms is not None:
        if failure.holds_back:
            return RateLimited(failure.delay_ms, failure.message)
        return RetryLater(failure.delay_ms, failure.message, counts=failure.counts)
    if failure.final:
        return UnrecoverableError(failure.message)
    head, _, stack = failure.error.partition("\n")
    return RemoteError(head, stack)


def failed(job: Job, failure: Failure, backoffs: Mapping[str, backoff.BackoffFunction]) -> Outcome:
    """Return the outcome of an attempt that failed: the job waits again, or fails for good."""
    if not failure.counts:
        values = utf8(failure.message[:ERROR_MAX]), str(failure.delay_ms)
        return Outcome("limit" if failure.holds_back else "release", str(job.id), job._token, values)
    if failure.final:
        retry = backoff.Retry("never")
    elif failure.delay_ms is not None:
        retry = backoff.Retry("wait", str(failure.delay_ms))
    else:
        text = job.raw.get("backoff")
        delay_ms = job.options.delay_ms if text else 0  # without, nothing else is read of the options
        retry = backoff.decide(text, job.attempts_made + 1, delay_ms, backoffs)
    texts = tuple(utf8(text[:ERROR_MAX]) for text in (failure.error, failure.line, failure.message))
    return Outcome("fail", str(job.id), job._token, (*texts, *retry, *(["1"] if failure.crashed else [])))


def not_runnable(job_id: str, token: str, exc: BaseException) -> Outcome:
    """Return the outcome of an attempt that could not even begin, or end: the job fails for good."""
    text = f"This worker cannot run the job: {type(exc).__name__}: {_text_of(exc)}"[:ERROR_MAX]
    return Outcome("fail", job_id, token, (utf8(text), utf8(text), utf8(text), *backoff.Retry("never")))


def released(job_id: str, token: str, why: str = "its worker stopped") -> Outcome:
    """Return the outcome of an attempt that is not counted: the job waits again."""
    return Outcome("release", job_id, token, (f"Released: {why}.",))


def is_expected(exc: BaseException) -> bool:
    """Tell whether a failure needs no traceback, because its message explains it."""
    return getattr(exc, "expected", False) is True


def is_own(frame: FrameType) -> bool:
    """Tell whether a frame of a traceback is of what calls a handler, which says nothing about the handler."""
    return str(frame.f_globals.get("__name__")).startswith(CALLERS)


def _is_library(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == _LIBRARY


def _stack(exc: BaseException) -> list[str]:
    """Return the lines of a traceback, without the library's own unless it raised outside a user's code.

    Python's way of it looks at each file on the disk.
    """
    frames = [each for each in traceback.walk_tb(exc.__traceback__) if not is_own(each[0])]
    frames = [each for each in frames if not _is_library(each[0])] or frames
    lines = []
    for at, (frame, number) in enumerate(frames):
        if FRAMES_OUTER <= at < len(frames) - FRAMES_INNER:
            if at == FRAMES_OUTER:
                lines.append(f"  … {len(frames) - FRAMES_INNER - FRAMES_OUTER} more …")
            continue
        code = frame.f_code
        lines.append(f'  File "{code.co_filename}", line {number}, in {code.co_name}')
        if source := linecache.getline(code.co_filename, number, frame.f_globals).strip():
            lines.append(f"    {source}")
    return lines


def _text_of(exc: BaseException) -> str:
    """Return an exception's text; one that cannot even tell that has none."""
    try:
        return str(exc)
    except Exception:
        return ""
