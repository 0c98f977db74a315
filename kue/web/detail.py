"""One job in full, for its page: data, result, options, attempts, log, and why it is not running."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypedDict

from kue.web.redact import safe, safe_text
from kue.web.texts import duration_text, ordinal, pretty_json
from kue.web.views import JobRow, job_row, reason

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

#: Log lines that the page shows: the newest.
LOG_LINES = 1000
#: Characters of data, result or error that the page shows.
TEXT_MAX = 100_000

#: What the attempts of `attempt_log` ended with, in words.
OUTCOMES = {"failed": "Failed", "rescued": "Worker died", "timeout": "Ran out of time", "cancelled": "Cancelled"}


class Attempt(TypedDict):
    """One try of a job."""

    number: int
    started_at: int | None
    ended_at: int | None
    worker: str
    outcome: str
    """In words; "Running" for the one under way."""
    error: str


class JobDetail(TypedDict):
    """What the page of one job shows."""

    row: JobRow
    data: str
    """JSON for reading; so are the other texts."""
    result: str | None
    progress_data: str | None
    error: str | None
    options: dict[str, str]
    attempts: list[Attempt]
    log: list[str]
    log_total: int
    why: str | None
    """Why a waiting job does not run, in one line."""


def _cut(text: str) -> str:
    text = safe_text(text)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + f"\n… and {len(text) - TEXT_MAX:,} more characters"


def why_waiting(queue: Queue, job: Job) -> str | None:
    """Return in one line why a job is not running, or None if it runs or has ended."""
    if job.state == "delayed":
        wait = (job.promote_at or 0) - time.time() * 1000
        when = f"in {duration_text(wait)}" if wait > 0 else "now, as soon as a worker looks"
        if job.error:
            return f"Attempt {job.attempts_made} failed; the next one is due {when}."
        return f"It is due {when}."
    if job.state != "inactive":
        return None
    if job.type in queue.paused():
        return f"The type {job.type} is paused."
    rank = queue.rank(job)
    if rank is None:
        return "It is not in line: a worker may be taking it this moment."
    counts = queue.counts(job.type)
    if counts["active"] == 0 and job.type not in queue.processing():
        return f"No job of type {job.type} is running anywhere: is there a worker for it?"
    if rank == 0:
        return "It is the next of its type: the workers are busy."
    return f"It is {ordinal(rank + 1)} in line for its type; {counts['active']:,} running now."


def _attempts(job: Job) -> list[Attempt]:
    attempts: list[Attempt] = []
    for entry in job.attempt_log:
        if not isinstance(entry, dict):
            continue
        outcome = str(entry.get("outcome", ""))
        attempts.append(
            {
                "number": int(entry.get("number") or len(attempts) + 1),
                "started_at": entry.get("started_at"),
                "ended_at": entry.get("ended_at"),
                "worker": str(entry.get("worker") or ""),
                "outcome": OUTCOMES.get(outcome, outcome.capitalize()),
                "error": reason(entry.get("error")),
            }
        )
    if job.state in ("active", "complete") and job.started_at:
        ended = job.started_at + job.duration if job.state == "complete" and job.duration is not None else None
        attempts.append(
            {
                "number": attempts[-1]["number"] + 1 if attempts else 1,
                "started_at": job.started_at,
                "ended_at": ended,
                "worker": job.worker_id or "",
                "outcome": "Running" if job.state == "active" else "Completed",
                "error": "",
            }
        )
    return attempts


def _options(job: Job) -> dict[str, str]:
    options = job.options
    names: dict[str, Any] = {
        "Type": job.type,
        "Priority": options.priority,
        "Attempts": f"{job.attempts_made} of {options.attempts or 1} made",
        "Delay": duration_text(options.delay_ms) if options.delay_ms else None,
        "Time to live": duration_text(options.ttl_ms) if options.ttl_ms else None,
        "Backoff": pretty_json(options.backoff).replace("\n", " ") if options.backoff else None,
        "Removed when complete": "yes" if options.remove_on_complete else None,
        "Rescues": job.rescues or None,
        "Worker": job.worker_id,
    }
    return {name: str(value) for name, value in names.items() if value is not None}


def job_detail(queue: Queue, job: Job) -> JobDetail:
    """Read what belongs to a job beside its hash, and return all of it."""
    log = queue.log(job.id or 0)
    return {
        "row": job_row(job),
        "data": _cut(pretty_json(safe(job.data))),
        "result": _cut(pretty_json(safe(job.result))) if job.result is not None else None,
        "progress_data": _cut(pretty_json(job.progress_data)) if job.progress_data is not None else None,
        "error": _cut(str(job.error)) if job.error else None,
        "options": _options(job),
        "attempts": _attempts(job),
        "log": [_cut(line) for line in log[-LOG_LINES:]],
        "log_total": len(log),
        "why": why_waiting(queue, job),
    }
