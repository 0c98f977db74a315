"""One job in full, for its page: data, result, options, attempts, log, and why it is not running."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import kue
from kue.management.flow_tree import read_tree
from kue.storage.codec import PRIORITY_NAMES
from kue.storage.trace_context import trace_id
from kue.text.humanize import duration_text
from kue.text.redaction import safe, safe_text
from kue.web.present.flow_view import FlowView, flow_view
from kue.web.present.humanize import pretty_json
from kue.web.present.job_row import JobRow, job_row, reason
from kue.web.present.why_waiting import is_suspect, why_waiting

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

#: Maximum number of log lines on the page, the newest.
LOG_LINES = 1000
#: Maximum characters of data, result or error on the page.
TEXT_MAX = 100_000

#: How the attempts of `attempt_log` ended, in words.
OUTCOMES = {
    "failed": "Failed",
    "rescued": "Worker died",
    "timeout": "Timed out",
    "cancelled": "Cancelled",
    "postponed": "Postponed",
    "released": "Released",
}
#: Outcomes that are not failures.
HARMLESS = frozenset({"postponed", "released"})


class Attempt(TypedDict):
    """One attempt of a job."""

    number: int
    started_at: int | None
    ended_at: int | None
    worker: str
    outcome: str
    """In words; "Running" for the current one."""
    state: str
    """The state whose color it has."""
    error: str
    stack: str
    """The traceback, "" without one."""


class JobDetail(TypedDict):
    """The contents of a job's page."""

    row: JobRow
    data: str
    """Formatted JSON, like the other texts."""
    result: str | None
    progress_data: str | None
    error: str | None
    """Why it failed, in one line."""
    traceback: str
    """Where an exception was raised; "" for an expected failure."""
    options: dict[str, str]
    attempts: list[Attempt]
    log: list[str]
    log_total: int
    log_next: int
    """Number of the next line."""
    why: str | None
    """Why a waiting job does not run, in one line."""
    schedule: str | None
    """The schedule that created it."""
    occurrence: int | None
    """The scheduled time, epoch ms."""
    copy_of: str | None
    """The job that this one is a copy of."""
    copies: list[str]
    """The copies of this job."""
    flow: FlowView | None
    """The jobs that it waits for, and those that wait for it."""


def _cut(text: str) -> str:
    text = safe_text(text)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + f"\n… and {len(text) - TEXT_MAX:,} more characters"


#: The library's own files, from ``kue/`` on: their frames do not help a handler's author.
_PACKAGE = Path(kue.__file__).parent
_OWN_FILES = tuple(f"/{path.relative_to(_PACKAGE.parent).as_posix()}" for path in _PACKAGE.rglob("*.py"))
_FRAME = re.compile(r'\s*File "(.+)", line [0-9]+, in ')


def traceback_of(error: object) -> str:
    """Return a stored error if it has a traceback, without the library's frames if there are others; else ""."""
    text = str(error or "").strip()
    head, *lines = text.splitlines() or [""]
    kept, is_own, frames, others = [head], False, 0, 0
    for line in lines:
        if match := _FRAME.match(line):
            is_own = match[1].endswith(_OWN_FILES)
            frames, others = frames + 1, others + (not is_own)
        elif line.startswith("    at "):  # Node's form
            is_own, frames, others = False, frames + 1, others + 1
        elif not line.startswith("    "):
            is_own = False
        if not is_own:
            kept.append(line)
    return "\n".join(kept) if others else text if frames else ""


def _attempts(job: Job) -> list[Attempt]:
    attempts: list[Attempt] = []
    for entry in job.attempt_log:
        if not isinstance(entry, dict):
            continue
        outcome = str(entry.get("outcome", ""))
        error = reason(entry.get("stack") or entry.get("error"))
        attempts.append(
            {
                "number": int(entry.get("number") or len(attempts) + 1),
                "started_at": entry.get("started_at"),
                "ended_at": entry.get("ended_at"),
                "worker": str(entry.get("worker") or ""),
                "outcome": OUTCOMES.get(outcome, outcome.capitalize()),
                "state": "delayed" if outcome in HARMLESS else "failed",
                "error": error,
                "stack": _cut(traceback_of(entry.get("stack") or entry.get("error"))),
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


def _queue_time(job: Job) -> str | None:
    """Return the time from the job's due time to the start of its last attempt."""
    if job.started_at is None or not job.created_at:
        return None
    return duration_text(max(0, job.started_at - max(job.created_at, job.promote_at or 0)))


def _priority(priority: float) -> str:
    name = PRIORITY_NAMES.get(priority)
    return f"{name} ({priority:g})" if name else f"{priority:g}"


def _backoff(backoff: Any, delay_ms: float) -> str:
    """Return ``exponential, from 10 s`` for a backoff that is data; anything else as JSON."""
    if backoff is True:
        return f"fixed, {duration_text(delay_ms)}"
    if isinstance(backoff, dict) and set(backoff) <= {"type", "delay", "maxDelay"} and "type" in backoff:
        numbers = {name: value for name, value in backoff.items() if name != "type"}
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in numbers.values()):
            first = numbers.get("delay", delay_ms)
            most = f", at most {duration_text(numbers['maxDelay'])}" if "maxDelay" in numbers else ""
            return f"{backoff['type']}, from {duration_text(first)}{most}"
    return pretty_json(backoff).replace("\n", " ")


def _attempt(job: Job) -> int:
    """Return the number of started attempts; for a job retried by hand, at most its maximum."""
    return min(job.attempts_made + (job.state == "active"), max(job.attempts_made, job.options.attempts or 1))


def _options(job: Job) -> dict[str, str]:
    options = job.options
    names: dict[str, Any] = {
        "Type": job.type,
        "Priority": _priority(options.priority),
        "Attempts": f"{_attempt(job)} of {options.attempts or 1}",
        "Delay": duration_text(options.delay_ms) if options.delay_ms else None,
        "Time limit (ttl)": duration_text(options.ttl_ms) if options.ttl_ms else None,
        "Backoff": _backoff(options.backoff, options.delay_ms) if options.backoff else None,
        "Unique": _unique(job),
        "Remove on complete": "yes" if options.remove_on_complete else None,
        "Queue time": _queue_time(job),
        "Run time": duration_text(job.duration) if job.duration is not None else None,
        "Rescues": job.rescues or None,
        "Suspect": f"yes, {job.deaths} worker processes died in a row" if is_suspect(job) else None,
        "Worker": job.worker_id,
        "Trace": trace_id(job.trace_context) or None,
    }
    return {name: str(value) for name, value in names.items() if value is not None}


_LASTS = {"start": "starts", "success": "completes"}


def _unique(job: Job) -> str | None:
    """Return a job's unique key, and how long it is valid."""
    if "unique" not in job.raw:
        return None
    text = job.raw["unique"].removeprefix(f"{job.type} ")
    what = "by its data" if text.startswith("#") else f"by the key {safe_text(text[1:])}"
    return f"{what}, until it {_LASTS.get(job.raw.get('unique_until', ''), 'ends')}"


def job_detail(queue: Queue, job: Job) -> JobDetail:
    """Read everything of a job besides its hash, and return it."""
    log = queue.log(job.id or 0)
    return {
        "row": job_row(job),
        "data": _cut(pretty_json(safe(job.data))),
        "result": _cut(pretty_json(safe(job.result))) if job.result is not None else None,
        "progress_data": _cut(pretty_json(job.progress_data)) if job.progress_data is not None else None,
        "error": reason(job.error) or None,
        "traceback": _cut(traceback_of(job.error)),
        "options": _options(job),
        "attempts": _attempts(job),
        "log": [_cut(line) for line in log[-LOG_LINES:]],
        "log_total": len(log),
        "log_next": len(log),
        "why": why_waiting(queue, job),
        "schedule": job.schedule,
        "occurrence": job.occurrence,
        "copy_of": job.copy_of,
        "copies": job.copies,
        "flow": flow_view(read_tree(job)) if job.children_total or job.parents else None,
    }
