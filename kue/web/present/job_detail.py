"""One job in full, for its page: data, result, options, attempts, log, and why it is not running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from kue.redaction import safe, safe_text
from kue.storage.codec import PRIORITY_NAMES
from kue.web.present.humanize import duration_text, pretty_json
from kue.web.present.job_row import JobRow, job_row, reason
from kue.web.present.why_waiting import why_waiting

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

#: Log lines that the page shows: the newest.
LOG_LINES = 1000
#: Characters of data, result or error that the page shows.
TEXT_MAX = 100_000

#: What the attempts of `attempt_log` ended with, in words.
OUTCOMES = {
    "failed": "Failed",
    "rescued": "Worker died",
    "timeout": "Ran out of time",
    "cancelled": "Cancelled",
    "postponed": "Put off",
    "released": "Released",
}
#: Those that are nobody's failure.
HARMLESS = frozenset({"postponed", "released"})


class Attempt(TypedDict):
    """One try of a job."""

    number: int
    started_at: int | None
    ended_at: int | None
    worker: str
    outcome: str
    """In words; "Running" for the one under way."""
    state: str
    """The state whose colour it has."""
    error: str
    stack: str
    """The whole error, if it says more."""


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
    log_next: int
    """Number of the next line."""
    why: str | None
    """Why a waiting job does not run, in one line."""
    copy_of: str | None
    """The job that this one was run again from."""
    copies: list[str]
    """The jobs that were run again from this one."""


def _cut(text: str) -> str:
    text = safe_text(text)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + f"\n… and {len(text) - TEXT_MAX:,} more characters"


def _attempts(job: Job) -> list[Attempt]:
    attempts: list[Attempt] = []
    for entry in job.attempt_log:
        if not isinstance(entry, dict):
            continue
        outcome = str(entry.get("outcome", ""))
        error, stack = reason(entry.get("error")), str(entry.get("stack") or entry.get("error") or "")
        attempts.append(
            {
                "number": int(entry.get("number") or len(attempts) + 1),
                "started_at": entry.get("started_at"),
                "ended_at": entry.get("ended_at"),
                "worker": str(entry.get("worker") or ""),
                "outcome": OUTCOMES.get(outcome, outcome.capitalize()),
                "state": "delayed" if outcome in HARMLESS else "failed",
                "error": error,
                "stack": _cut(stack) if "\n" in stack.strip() else "",
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
                "state": job.state,
                "error": "",
                "stack": "",
            }
        )
    return attempts


def _waited(job: Job) -> str | None:
    """Return how long the job waited from when it was due to when its last attempt began."""
    if job.started_at is None or not job.created_at:
        return None
    return duration_text(max(0, job.started_at - max(job.created_at, job.promote_at or 0)))


def _options(job: Job) -> dict[str, str]:
    options = job.options
    names: dict[str, Any] = {
        "Type": job.type,
        "Priority": f"{options.priority:g} {PRIORITY_NAMES.get(options.priority, '')}",
        "Attempts": f"{job.attempts_made} of {options.attempts or 1} made",
        "Delay": duration_text(options.delay_ms) if options.delay_ms else None,
        "Time to live": duration_text(options.ttl_ms) if options.ttl_ms else None,
        "Backoff": pretty_json(options.backoff).replace("\n", " ") if options.backoff else None,
        "Removed when complete": "yes" if options.remove_on_complete else None,
        "Waited": _waited(job),
        "Took": duration_text(job.duration) if job.duration is not None else None,
        "Taken back from dead workers": job.rescues or None,
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
        "log_next": len(log),
        "why": why_waiting(queue, job),
        "copy_of": job.copy_of,
        "copies": job.copies,
    }
