"""A job as a row of a list, and the frames that carry rows to pages."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from kue.states import ASIDE_UNTIL_MS, HOLD_UNTIL_MS, WAIT_UNTIL_MS
from kue.storage.codec import MS_MAX, PRIORITY_NAMES
from kue.text.humanize import ago_text, countdown_text, duration_text
from kue.text.redaction import safe_text

if TYPE_CHECKING:
    from kue.job import Job

log = logging.getLogger("kue.web")

#: Maximum characters of a title, URL or error in a row; the job's page shows everything.
TEXT_LIMIT = 300

#: The labels of the states in the article's page, shown in `log_ID`.
STATE_LABELS = {
    "inactive": "Queued",
    "active": "Running",
    "complete": "Completed",
    "failed": "Failed",
    "delayed": "Delayed",
}

#: A number; a string only for another program's textual ids.
JobId = int | str


class Mark(TypedDict):
    """A position in the stream of changes."""

    epoch: str
    """Identifies one run of one relay; marks of another epoch are invalid."""
    seq: int
    """The last frame sent, counted from 0 within the epoch."""


class RowBytes(TypedDict):
    """A transfer's progress, as last reported by its handler (`kue.downloads.progress.ProgressData`)."""

    done: int
    total: int | None
    rate: int
    """Bytes per second."""
    eta_s: float | None


class RowChildren(TypedDict):
    """The jobs that a job waits for, or waited for, and how many of them have ended."""

    ended: int
    total: int


class _JobRowBase(TypedDict):
    id: JobId
    type: str
    title: str
    state: str
    priority: int | float
    progress: int
    """Percent, 0 to 100."""
    created_at: int
    """Epoch milliseconds, as all times here."""
    attempts_made: int
    attempts_max: int


class JobRow(_JobRowBase, total=False):
    """A row of a list. Members that do not apply are omitted."""

    url: str
    promote_at: int
    started_at: int
    updated_at: int
    failed_at: int
    duration: int
    """Milliseconds the last attempt took."""
    error: str
    """First line of the last error; for a job that may still run, why it is retried."""
    bytes: RowBytes
    file: str
    """Name inside the download folder."""
    worker: str
    children: RowChildren


class Frame(TypedDict, total=False):
    """A page receives this at most ten times per second (`batch`), and as the response to `watch`."""

    epoch: str
    seq: int
    rows: list[JobRow]
    """The changed jobs, as they were in Redis when the frame was built."""
    gone: list[JobId]
    """Jobs that were removed."""
    counts: dict[str, int]
    """Jobs per state, whenever they changed."""
    resync: bool
    """Too much changed, or it is unknown what changed: fetch the list again."""
    stale: str
    """Why there is no newer data at present."""


def first_line(text: object, limit: int = TEXT_LIMIT) -> str:
    """Return the first non-empty line of ``text``, without secrets, truncated to ``limit`` characters."""
    for line in safe_text(str(text)).splitlines():
        line = line.strip()
        if line:
            return line if len(line) <= limit else line[: limit - 1] + "…"
    return ""


def reason(error: object) -> str:
    """Return a stored error in one line; it may be a whole Python or Node stack.

    A Python traceback has its message last, a Node stack has it first.
    """
    text = str(error or "").strip()
    if text.startswith("Traceback (most recent call last)"):
        lines = [line for line in text.splitlines() if line and not line.startswith((" ", "\t"))]
        text = lines[-1] if lines else text
    return first_line(text)


def job_title(job: Job) -> str:
    """Return a name for the job: its title, else its url, else its type."""
    data = job.data if isinstance(job.data, dict) else {}
    for name in ("title", "url"):
        value = data.get(name)
        if isinstance(value, str) and value.strip():
            return first_line(value)
    return first_line(job.type)


def _number(value: object) -> int | float | None:
    """Return a number within JavaScript's exact range; None for anything else."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and abs(value) <= MS_MAX else None  # type: ignore[arg-type, return-value]


def _row_bytes(job: Job) -> RowBytes | None:
    data = job.progress_data
    if not isinstance(data, dict):
        return None
    done, total, rate, eta_s = (_number(data.get(name)) for name in ("bytes", "total", "rate", "eta_s"))
    if done is None:
        return None
    return {"done": int(done), "total": None if total is None else int(total), "rate": int(rate or 0), "eta_s": eta_s}


def result_file(job: Job) -> str | None:
    """Return the name of a finished download's file in the download folder."""
    if job.state != "complete" or not isinstance(job.result, dict):
        return None
    name = job.result.get("file")
    return name if isinstance(name, str) and name and "/" not in name else None


def result_host(job: Job) -> str | None:
    """Return the host that has a finished download's file; None for this machine."""
    host = job.result.get("host") if isinstance(job.result, dict) else None
    return host if isinstance(host, str) and host and host != socket.gethostname() else None


def job_row(job: Job) -> JobRow:
    """Return the job as a row of a list, without its data. The row of an unreadable job says so."""
    try:
        return _job_row(job)
    except Exception:
        log.exception("Cannot show job %s", job.id)
        return {
            "id": job.id or 0, "type": str(job.type), "title": "This job cannot be read", "state": str(job.state),
            "priority": 0, "progress": 0, "created_at": 0, "attempts_made": 0, "attempts_max": 1,
        }  # fmt: skip


def _job_row(job: Job) -> JobRow:
    row: JobRow = {
        "id": job.id or 0,
        "type": str(job.type),
        "title": job_title(job),
        "state": str(job.state),
        "priority": job.options.priority,
        "progress": max(0, min(100, int(job.progress_percent or 0))),
        "created_at": int(job.created_at or 0),
        "attempts_made": int(job.attempts_made or 0),
        "attempts_max": int(job.options.attempts or 1),
    }
    data = job.data if isinstance(job.data, dict) else {}
    if isinstance(data.get("url"), str):
        row["url"] = first_line(data["url"])
    if job.state == "delayed" and job.promote_at:
        row["promote_at"] = int(job.promote_at)
    if job.children_total:
        row["children"] = {"ended": job.children_ended, "total": job.children_total}
    times: tuple[Any, ...] = ("started_at", "updated_at", "failed_at", "duration")
    for name in times:
        value = getattr(job, name, None)
        if value is not None:
            row[name] = int(value)  # type: ignore[literal-required]
    # Node Kue never clears an old error: a completed job may still have one that no longer matters.
    if job.error and job.state != "complete":
        row["error"] = reason(job.error)
    transferred = _row_bytes(job)
    if transferred is not None:
        row["bytes"] = transferred
    file = result_file(job)
    if file is not None:
        row["file"] = file
    if job.worker_id and job.state == "active":
        row["worker"] = str(job.worker_id)
    return row


def children_text(children: RowChildren) -> str:
    """Return how many of a job's children have ended; same as in job_row.js."""
    return f"{children['ended']:,} of {children['total']:,} children"


def priority_word(priority: float) -> str:
    """Return a priority by name, or as ``priority 7``; empty for normal priority."""
    return PRIORITY_NAMES.get(priority, f"priority {priority}") if priority else ""


def when_text(row: JobRow, now_ms: float) -> str:
    """Return how long a job has been running, when it is due, or how long it took; same as in job_row.js."""
    if row["state"] == "active":
        return f"for {countdown_text(now_ms - row['started_at'])}" if "started_at" in row else ""
    if row["state"] == "delayed":
        if row.get("promote_at") == HOLD_UNTIL_MS:
            return "suspended"
        if row.get("promote_at") == ASIDE_UNTIL_MS:
            return "limited"
        if row.get("promote_at") == WAIT_UNTIL_MS and "children" in row:
            return children_text(row["children"])
        wait = row.get("promote_at", 0) - now_ms
        return f"in {countdown_text(wait)}" if wait > 0 else "due now"
    if row["state"] == "inactive":
        return ago_text(now_ms - row["created_at"])
    ended = ago_text(now_ms - row.get("updated_at", now_ms))
    if row["state"] == "complete" and "duration" in row:
        return f"{duration_text(row['duration'])} · {ended}"
    return ended


def when_ms(row: JobRow) -> int | None:
    """Return the time that `when_text` refers to, None if there is none."""
    name = {"active": "started_at", "delayed": "promote_at", "inactive": "created_at"}.get(row["state"], "updated_at")
    at: int | None = row.get(name)  # type: ignore[assignment]
    return None if at in (HOLD_UNTIL_MS, WAIT_UNTIL_MS, ASIDE_UNTIL_MS) else at


def file_url(name: str) -> str:
    """Return the path of a finished file."""
    return "/files/" + quote(name, safe="")
