"""Turn the end of an attempt into its outcome for Redis: a result, or a failure with the time of the next attempt."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Mapping
from types import FrameType
from typing import Any, NamedTuple

from ... import backoff
from ...base_job import WAIT
from ...errors import JobInterrupt, LeaseLost, RateLimited, RetryLater, UnrecoverableError, WorkerStopping
from ...job import Job
from ...storage.codec import is_truthy, to_json, utf8
from ...storage.script_values import Outcome

#: Longest error text kept in a job, characters; the rest is cut.
ERROR_MAX = 20_000
#: The modules that call handlers.
CALLERS = ("kue.worker.", "kue.tasks.", "kue.middleware")
#: Frames kept of a long traceback: the outermost, at the handler's entry, and the innermost, near the error.
FRAMES_OUTER, FRAMES_INNER = 10, 40
_LIBRARY = __name__.partition(".")[0]


class DoneError(Exception):
    """A failure that a handler passed to ``done`` as a value that is not an exception."""

    expected = True


class Failure(NamedTuple):
    """Why an attempt failed, in plain values that a child process can send.

    ``error`` is stored in the job: class, message and the handler's stack, or just the message of an expected failure.
    ``line`` goes to its log, ``message`` into its events. ``delay_ms``: the delay the handler asked for, if any; if
    ``counts`` is False, the attempt is not counted, and with ``holds_back`` no other job of its key or type starts
    meanwhile. ``final``: not retried. ``crashed``: the child process that ran it died.
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
    """Why an attempt failed in a child process: one line, followed by the handler's stack."""

    def __init__(self, head: str, stack: str) -> None:
        super().__init__(head)
        self.head, self.stack = head, stack


def completed(job: Job, result: Any) -> Outcome:
    """Return the outcome of a handler that returned. Raises if the result is not JSON."""
    if result is WAIT:
        return Outcome("release", str(job.id), job._token, ("Waiting for its children", "children"))
    return Outcome("complete", str(job.id), job._token, (to_json(result), "1" if is_truthy(result) else "0"))


def raised(job: Job, exc: BaseException, backoffs: Mapping[str, backoff.BackoffFunction]) -> Outcome | None:
    """Return the outcome of a handler that raised, or None if the attempt has lost its job."""
    if isinstance(exc, WorkerStopping):
        return released(str(job.id), job._token)
    return None if has_lost_job(job, exc) else failed(job, describe(exc), backoffs)


def has_lost_job(job: Job, exc: BaseException) -> bool:
    """Return whether a handler raised this because its attempt has lost the job: there is nothing to report then.

    A LeaseLost about another job, or an interrupt raised by the handler itself, is an ordinary failure.
    """
    if isinstance(exc, LeaseLost):
        return bool(exc.job_id == job.id)
    return isinstance(exc, JobInterrupt) and job._interrupt is not None


def describe(exc: BaseException) -> Failure:
    """Return what is stored of an exception."""
    if isinstance(exc, DoneError):
        # Node logs an empty line for an error that is a plain string.
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
        delay_ms = job.options.delay_ms if text else 0  # otherwise no other option is read
        retry = backoff.decide(text, job.attempts_made + 1, delay_ms, backoffs)
    texts = tuple(utf8(text[:ERROR_MAX]) for text in (failure.error, failure.line, failure.message))
    return Outcome("fail", str(job.id), job._token, (*texts, *retry, *(["1"] if failure.crashed else [])))


def not_runnable(job_id: str, token: str, exc: BaseException) -> Outcome:
    """Return the outcome of an attempt that could not be started or finished: the job fails for good."""
    text = f"This worker cannot run the job: {type(exc).__name__}: {_text_of(exc)}"[:ERROR_MAX]
    return Outcome("fail", job_id, token, (utf8(text), utf8(text), utf8(text), *backoff.Retry("never")))


def released(job_id: str, token: str, why: str = "its worker stopped") -> Outcome:
    """Return the outcome of an uncounted attempt: the job is queued again."""
    return Outcome("release", job_id, token, (f"Released: {why}.",))


def is_expected(exc: BaseException) -> bool:
    """Return whether a failure's message explains it without a traceback."""
    return getattr(exc, "expected", False) is True


def is_own(frame: FrameType) -> bool:
    """Return whether a traceback frame belongs to the code that calls handlers."""
    return str(frame.f_globals.get("__name__")).startswith(CALLERS)


def _is_library(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == _LIBRARY


def _stack(exc: BaseException) -> list[str]:
    """Return a traceback's lines, without the library's frames unless the error was raised outside user code.

    Python's own formatting reads each source file from disk.
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
    """Return an exception's text, or "" if its ``__str__`` fails."""
    try:
        return str(exc)
    except Exception:
        return ""
