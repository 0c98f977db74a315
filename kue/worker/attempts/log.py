"""Log lines about attempts: how each ended, and why those of other workers were timed out or rescued.

A failed attempt is a warning, a job that failed for good an error.

Loggers: ``kue.jobs``, and ``kue.jobs.completed`` for completions, which ``kue worker -v`` shows.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from redis.exceptions import RedisError

from ...backoff import Retry
from ...errors import RetryLater
from ...job import Job
from ...logs import in_context_of
from ...states import FAILED
from ...storage.keys import Keys
from ...storage.script_values import Outcome
from ...text.humanize import duration_text
from .outcomes import RemoteError, is_expected, is_own

log = logging.getLogger("kue.jobs")
completed = logging.getLogger("kue.jobs.completed")

#: Longest error message in a log line, characters.
MESSAGE_MAX = 1000
#: Most parents of a failed job in a log line.
PARENTS_MAX = 10
#: Reasons why an attempt loses its job, with the level and the words of their log lines.
_INTERRUPTS = {
    "cancelled": (logging.WARNING, "was cancelled"),
    "discarded": (logging.WARNING, "was cancelled, with its partial result,"),
    "removed": (logging.WARNING, "was removed"),
    "moved": (logging.WARNING, "was moved to another state"),
    "rescued": (logging.WARNING, "was rescued by another process"),
    "lost": (logging.WARNING, "lost its lease"),
    "paused": (logging.INFO, "was suspended"),
    "timeout": (logging.INFO, "exceeded its ttl"),
}


def log_outcome(job: Job, job_type: str, outcome: Outcome, error: BaseException | None, run_s: float) -> None:
    """Log how an attempt ended. ``error``: what the handler raised, if anything; ``run_s``: run time, seconds."""
    if outcome.verb == "complete" and not completed.isEnabledFor(logging.INFO):
        return
    with in_context_of(job):
        _log_outcome(job, job_type, outcome, error, run_s)


def _log_outcome(job: Job, job_type: str, outcome: Outcome, error: BaseException | None, run_s: float) -> None:
    name = _name(job.id, job_type)
    if outcome.verb == "complete":
        completed.info("%s completed in %s", name, duration_text(run_s * 1000))
    elif outcome.verb in ("release", "limit") and isinstance(error, RetryLater):
        log.info("%s postponed for %s: %s", name, duration_text(error.delay_ms), _one_line(error))
    elif outcome.verb == "fail":
        _log_failure(name, job, outcome, error, run_s)


def _log_failure(name: str, job: Job, outcome: Outcome, error: BaseException | None, run_s: float) -> None:
    _, _, message, retry, delay, *_ = outcome.values
    reason, stack = _reason(error, message)
    attempt, is_last = _attempt(job.attempts_made, job.options.attempts)
    line = f"{name} failed after {duration_text(run_s * 1000)}, {attempt}: {reason}"
    _log_end(line, is_last, retry, delay, _traceback(error), stack, _parents(job))


def _parents(job: Job) -> str:
    """Return which jobs wait for a job that failed for good: if they fail with it, no other line says so."""
    if not job.parents:
        return ""
    ids = ", ".join(map(str, job.parents[:PARENTS_MAX]))
    return f" Waiting for it: job{'' if len(job.parents) == 1 else 's'} {ids}."


def _reason(error: BaseException | None, message: str) -> tuple[str, str]:
    """Return why an attempt failed, on one line, followed by the stack from a child process, if any."""
    if isinstance(error, RemoteError):
        lines = [f"\n{' ' * (len(line) - len(line.lstrip()))}{_one_line(line)}" for line in error.stack.splitlines()]
        return _one_line(error.head).rstrip("."), "".join(lines)
    if error is None or is_expected(error):
        return _one_line(message).rstrip("."), ""
    return f"{type(error).__name__}: {_one_line(message)}", ""


def log_timeout(job_id: object, job_type: str, attempts_made: int, attempts_max: int | None, retry: Retry) -> None:
    """Log that an attempt of any worker was timed out, and when the job runs again."""
    attempt, is_last = _attempt(attempts_made, attempts_max)
    _log_end(f"{_name(job_id, job_type)} timed out (ttl exceeded), {attempt}", is_last, retry.retry, retry.delay)


def log_rescues(client: Any, keys: Keys, job_ids: Iterable[str], why: str) -> None:
    """Log that jobs were rescued. ``why``: why their workers lost them."""
    ids = list(job_ids)
    pipe = client.pipeline(transaction=False)
    for job_id in ids:
        pipe.hmget(keys.job(job_id), "type", "state", "rescues", "error")
    try:
        found = pipe.execute(raise_on_error=False) if ids else []
    except RedisError:  # the rescue has succeeded anyway
        found = [None] * len(ids)
    for job_id, fields in zip(ids, found, strict=True):
        job_type, state, rescues, error = fields if isinstance(fields, list) else [None] * 4
        name = _name(job_id, job_type or "unknown type")
        if state == FAILED:
            reason = _one_line(error)
            log.error("%s %s. It will not be retried.", name, reason[:1].lower() + reason[1:])
        else:
            log.warning("%s rescued (rescue %s): %s. It runs again.", name, rescues or "?", why)


def log_interrupt(job: Job, job_type: str, reason: str, run_s: float) -> None:
    """Log that an attempt of this process is stopped because it lost its job. ``reason`` is one of `q:revoked`."""
    level, text = _INTERRUPTS.get(reason, (logging.WARNING, reason))
    name, ran = _name(job.id, job_type), duration_text(run_s * 1000)
    try:
        with in_context_of(job):
            log.log(level, "%s %s after %s; stopping its handler", name, text, ran)
    except Exception:  # a user's logging filter failed: stop the handler anyway
        log.exception("Job %s: cannot log why it is stopped", job.id)


def _name(job_id: object, job_type: str) -> str:
    return f"Job {job_id} ({_one_line(job_type)})"


def _attempt(made: int, allowed: int | None) -> tuple[str, bool]:
    """Return ``attempt 2 of 5``, and whether it is the last."""
    allowed = max(1, allowed or 1)
    number = min(made + 1, allowed)
    return f"attempt {number} of {allowed}", number >= allowed


def _log_end(
    line: str, is_last: bool, retry: str, delay: str, exc_info: Any = None, stack: str = "", parents: str = ""
) -> None:
    if is_last or retry == "never":
        log.error("%s. It will not be retried.%s%s", line, parents, stack, exc_info=exc_info)
    elif retry == "now":
        log.warning("%s. Retrying now.%s", line, stack, exc_info=exc_info)
    else:
        wait = duration_text(float(delay)) if delay else "its delay"
        log.warning("%s. Retrying in %s.%s", line, wait, stack, exc_info=exc_info)


def _traceback(error: BaseException | None) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Return the error with the handler's own frames; None for an expected failure."""
    if error is None or is_expected(error):
        return None
    own = None
    for entry in reversed(list(_entries(error.__traceback__))):
        if not is_own(entry.tb_frame):
            own = TracebackType(own, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    if own is None or not _is_valid(error):
        return None
    return type(error), error, own


def _entries(entry: TracebackType | None) -> Iterator[TracebackType]:
    while entry is not None:
        yield entry
        entry = entry.tb_next


def _is_valid(error: BaseException) -> bool:
    """Return whether the traceback can be encoded as UTF-8: a message may contain a lone surrogate."""
    try:
        "".join(traceback.format_exception(error)).encode()
    except Exception:
        return False
    return True


def _one_line(value: object) -> str:
    """Return text on one line without control characters: it may come from an untrusted job."""
    text = " ".join(str(value)[:MESSAGE_MAX].split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)
