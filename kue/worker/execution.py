"""Run one attempt of a job and report its outcome. Never raises, whatever the handler does."""

from __future__ import annotations

import inspect
import linecache
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from .. import backoff
from ..concurrency import green
from ..concurrency.green import Task
from ..errors import InvalidJob, JobInterrupt, LeaseLost, RetryLater, UnrecoverableError, WorkerStopping
from ..job import Job
from ..storage.codec import is_truthy, to_json, utf8
from ..storage.script_values import Outcome

#: Longest error text kept in a job, characters; the rest is cut.
ERROR_MAX = 20_000
#: Seconds between two looks whether a handler that reports by ``done`` was told to stop, or has reported: the second
#: where threads are green.
POLL_S, GREEN_POLL_S = 1.0, 0.05
#: Frames of a long traceback that are kept: those of the handler's entry, and those next to the error.
FRAMES_OUTER, FRAMES_INNER = 10, 40


class Context:
    """What a handler ``(job, ctx, done)`` gets as ``ctx``: control of its type in this process, as in Node Kue."""

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        #: Take no new job of this type in this process; those that run go on.
        self.pause = pause
        #: Take jobs of this type again.
        self.resume = resume


def arity(handler: Callable[..., object]) -> int:
    """Return how many positional arguments a handler takes: 1 (job), 2 (job, done) or 3 (job, ctx, done)."""
    if not callable(handler):
        raise InvalidJob(f"a handler is a function (job), (job, done) or (job, ctx, done), not {handler!r}")
    if inspect.iscoroutinefunction(handler):
        raise InvalidJob(
            f"a handler cannot be an async function yet; wrap it: lambda job: asyncio.run({handler.__name__}(job))"
        )
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return 1
    wanted = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    if not 1 <= len(wanted) <= 3 and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        raise InvalidJob(f"a handler takes (job), (job, done) or (job, ctx, done); {handler!r} takes {len(wanted)}")
    return max(1, len(wanted))


def not_runnable(job_id: str, token: str, exc: BaseException) -> Outcome:
    """Return the outcome of an attempt that could not even begin, or end: the job fails for good."""
    text = f"This worker cannot run the job: {type(exc).__name__}: {_text_of(exc)}"[:ERROR_MAX]
    return Outcome("fail", job_id, token, (utf8(text), utf8(text), utf8(text), *backoff.Retry("never")))


def released(job_id: str, token: str, why: str = "its worker stopped") -> Outcome:
    """Return the outcome of an attempt that is not counted: the job waits again."""
    return Outcome("release", job_id, token, (f"Released: {why}.",))


class Execution:
    """One attempt at one job."""

    __slots__ = ("_arity", "_handler", "context", "error", "job", "slot", "task", "type")

    def __init__(
        self, job: Job, job_type: str, slot: Any, handler: Callable[..., Any], handler_arity: int, context: Context
    ) -> None:
        self.job, self.slot, self.context = job, slot, context
        #: The type whose slot it has. The job's own is a field that anybody may have written.
        self.type = job_type
        self._handler, self._arity = handler, handler_arity
        self.task: Task | None = None
        #: What the handler raised, if it failed.
        self.error: BaseException | None = None

    def interrupt(self, exc: JobInterrupt) -> None:
        """Stop the handler: at once in a green thread, at its next ``log`` or ``progress`` in a plain one."""
        self.job._interrupt = exc
        if self.task is not None:
            self.task.interrupt(exc)

    def run(self, backoffs: Mapping[str, backoff.BackoffFunction]) -> Outcome | None:
        """Run the handler to its end; return the outcome, or None if there is nothing left to say about the job."""
        job = self.job
        try:
            job._raise_if_interrupted()  # it may have been taken away before it began
            result = self._handler(job) if self._arity == 1 else self._call_with_done()
            text = to_json(result)
        except WorkerStopping:
            return released(str(job.id), job._token)
        except (JobInterrupt, LeaseLost) as exc:
            if isinstance(exc, LeaseLost) and exc.job_id != job.id:  # some other job's; this handler's own failure
                return self._failure(exc, backoffs)
            if isinstance(exc, JobInterrupt) and job._interrupt is None:  # nobody stopped it: the handler's own doing
                return self._failure(exc, backoffs)
            return None
        except BaseException as exc:
            return self._failure(exc, backoffs)
        return Outcome("complete", str(job.id), job._token, (text, "1" if is_truthy(result) else "0"))

    def _call_with_done(self) -> Any:
        """Call a handler that reports by ``done(error=None, result=None)``, and wait for it; the first call counts."""
        ended = threading.Event()
        reports: list[tuple[Any, Any]] = []

        def done(error: Any = None, result: Any = None) -> None:
            reports.append((error, result))
            ended.set()

        if self._arity == 2:
            self._handler(self.job, done)
        else:
            self._handler(self.job, self.context, done)
        # A OS thread that calls done wakes no green one.
        poll_s = GREEN_POLL_S if green.enabled() else POLL_S
        while not ended.wait(poll_s):
            if self.job._interrupt is not None:
                raise self.job._interrupt
        error, result = reports[0]
        if not error:  # as in JavaScript, "" and 0 are no errors
            return result
        raise error if isinstance(error, BaseException) else _DoneError(error)

    def _failure(self, exc: BaseException, backoffs: Mapping[str, backoff.BackoffFunction]) -> Outcome:
        job, self.error = self.job, exc
        if isinstance(exc, _DoneError):
            # As Node logs an error that is a plain string: an empty line.
            error = message = str(exc)
            line = ""
        else:
            message = _text_of(exc) or type(exc).__name__
            head = ": ".join(filter(None, (type(exc).__name__, _text_of(exc))))
            error = "\n".join([head, *_stack(exc)]).rstrip()
            line = error.partition("\n")[0]
        if isinstance(exc, RetryLater) and not exc.counts:
            return Outcome("release", str(job.id), job._token, (utf8(message[:ERROR_MAX]), str(exc.delay_ms)))
        if isinstance(exc, UnrecoverableError):
            retry = backoff.Retry("never")
        elif isinstance(exc, RetryLater):
            retry = backoff.Retry("wait", str(exc.delay_ms))
        else:
            text = job.raw.get("backoff")
            delay_ms = job.options.delay_ms if text else 0  # without, nothing else is read of the options
            retry = backoff.decide(text, job.attempts_made + 1, delay_ms, backoffs)
        values = tuple(utf8(text[:ERROR_MAX]) for text in (error, line, message))
        return Outcome("fail", str(job.id), job._token, (*values, *retry))


def _stack(exc: BaseException) -> list[str]:
    """Return the lines of a traceback, without this module's own. Python's way of it looks at each file on the disk."""
    frames = [each for each in traceback.walk_tb(exc.__traceback__) if each[0].f_code.co_filename != __file__]
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


class _DoneError(Exception):
    """A failure that a handler gave to ``done`` as something else than an exception."""
