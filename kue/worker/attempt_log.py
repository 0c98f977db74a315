"""Log lines about attempts: a warning for each that fails, an error for a job that failed for good, and completions.

Loggers: ``kue.jobs``, and ``kue.jobs.completed`` for completions, which ``kue worker -v`` shows.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

from ..errors import RetryLater
from ..humanize import duration_text
from ..job import Job
from ..storage.script_values import Outcome
from .outcomes import is_expected, is_own

log = logging.getLogger("kue.jobs")
completed = logging.getLogger("kue.jobs.completed")

#: Longest error message in a log line, characters.
MESSAGE_MAX = 1000


def log_outcome(job: Job, job_type: str, outcome: Outcome, error: BaseException | None, run_s: float) -> None:
    """Log how an attempt ended. ``error`` is what the handler raised, if it did; ``run_s`` its run time, seconds."""
    if outcome.verb == "complete" and not completed.isEnabledFor(logging.INFO):
        return
    name = f"Job {job.id} ({_one_line(job_type)})"
    if outcome.verb == "complete":
        completed.info("%s completed in %s", name, duration_text(run_s * 1000))
    elif outcome.verb == "release" and isinstance(error, RetryLater):
        log.info("%s postponed for %s: %s", name, duration_text(error.delay_ms), _one_line(error))
    elif outcome.verb == "fail":
        _log_failure(name, job, outcome, error, run_s)


def _log_failure(name: str, job: Job, outcome: Outcome, error: BaseException | None, run_s: float) -> None:
    _, _, message, retry, delay, *_ = outcome.values
    allowed = max(1, job.options.attempts or 1)
    made = min(job.attempts_made + 1, allowed)
    told = error is None or is_expected(error)
    reason = _one_line(message).rstrip(".") if told else f"{type(error).__name__}: {_one_line(message)}"
    attempt = f"{name} failed after {duration_text(run_s * 1000)}, attempt {made} of {allowed}: {reason}"
    if made >= allowed or retry == "never":
        log.error("%s. It will not be retried.", attempt, exc_info=_traceback(error))
    elif retry == "now":
        log.warning("%s. Retrying now.", attempt, exc_info=_traceback(error))
    else:
        wait = duration_text(float(delay)) if delay else "its delay"
        log.warning("%s. Retrying in %s.", attempt, wait, exc_info=_traceback(error))


def _traceback(error: BaseException | None) -> tuple[type[BaseException], BaseException, TracebackType | None] | None:
    """Return the error with the handler's own frames; None for an expected failure."""
    if error is None or is_expected(error):
        return None
    frame = error.__traceback__
    while frame is not None and is_own(frame.tb_frame):
        frame = frame.tb_next
    if frame is None or not _is_valid(error):
        return None
    return type(error), error, frame


def _is_valid(error: BaseException) -> bool:
    """Return whether the traceback can be written as UTF-8: a message may hold half a surrogate pair."""
    try:
        "".join(traceback.format_exception(error)).encode()
    except Exception:
        return False
    return True


def _one_line(value: object) -> str:
    """Return text on one line without control characters: it may come from an untrusted job."""
    text = " ".join(str(value)[:MESSAGE_MAX].split())
    return "".join(letter if letter.isprintable() else "?" for letter in text)
