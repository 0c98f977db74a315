"""A job as one row of a list, and the frames that carry rows to the pages."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from kue.humanize import ago_text, countdown_text, duration_text
from kue.redaction import safe_text
from kue.states import ASIDE_UNTIL_MS, HOLD_UNTIL_MS, WAIT_UNTIL_MS
from kue.storage.codec import MS_MAX, PRIORITY_NAMES

if TYPE_CHECKING:
    from kue.job import Job

log = logging.getLogger("kue.web")

#: Characters of a title, url or error that a row carries; the job's own page shows the whole.
TEXT_LIMIT = 300

#: What the article's page calls each state. `log_ID` shows these words.
STATE_LABELS = {
    "inactive": "Queued",
    "active": "Running",
    "complete": "Completed",
    "failed": "Failed",
    "delayed": "Delayed",
}

#: A number; text only for jobs that another program named otherwise.
JobId = int | str


class Mark(TypedDict):
    """A place in the stream of changes."""

    epoch: str
    """Names one run of one relay; marks of another epoch mean nothing to it."""
    seq: int
    """The last frame sent, counted from 0 within the epoch."""


class RowBytes(TypedDict):
    """How far a transfer is, as its handler last reported it (`kue.downloads.progress.ProgressData`)."""

    done: int
    total: int | None
    rate: int
    """Bytes a second."""
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
    """One line of a list. Left out: what does not apply."""

    url: str
    promote_at: int
    started_at: int
    updated_at: int
    failed_at: int
    duration: int
    """Milliseconds the last attempt took."""
    error: str
    """First line of the last error; of a job that may still run, why it is retried."""
    bytes: RowBytes
    file: str
    """Name inside the download folder."""
    worker: str
    children: RowChildren


class Frame(TypedDict, total=False):
    """What a page receives at most ten times a second (`batch`), and as the answer to `watch`."""

    epoch: str
    seq: int
    rows: list[JobRow]
    """The jobs that changed, as Redis held them when the frame was made."""
    gone: list[JobId]
    """Jobs that were removed."""
    counts: dict[str, int]
    """Jobs per state, whenever they changed."""
    resync: bool
    """Too much changed, or it is unknown what: fetch the list again."""
    stale: str
    """Why there is nothing newer at present."""


def first_line(text: object, limit: int = TEXT_LIMIT) -> str:
    """Return the first line of ``text`` that holds anything, safe to show, cut to ``limit`` characters."""
    for line in safe_text(str(text)).splitlines():
        line = line.strip()
        if line:
            return line if len(line) <= limit else line[: limit - 1] + "…"
    return ""


def reason(error: object) -> str:
    """Return what went wrong in one line, for a stored error that may be a whole Python or Node stack.

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
    """Return a number that JavaScript can count with; None for anything else."""
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
    """Return the name of the file a finished download left in the download folder."""
    if job.state != "complete" or not isinstance(job.result, dict):
        return None
    name = job.result.get("file")
    return name if isinstance(name, str) and name and "/" not in name else None


def result_host(job: Job) -> str | None:
    """Return the name of the other machine that has the file of a finished download, None if it is this one."""
    host = job.result.get("host") if isinstance(job.result, dict) else None
    return host if isinstance(host, str) and host and host != socket.gethostname() else None


def job_row(job: Job) -> JobRow:
    """Return the job as one row of a list, without its payload. A job that cannot be read says so in its own row."""
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
    """Return how many of a job's children have ended; as job_row.js does."""
    return f"{children['ended']:,} of {children['total']:,} children"


def priority_word(priority: float) -> str:
    """Return a priority by its name, or as ``priority 7``; nothing for a normal one."""
    return PRIORITY_NAMES.get(priority, f"priority {priority}") if priority else ""


def when_text(row: JobRow, now_ms: float) -> str:
    """Return how long a job has been running, when it is due, or how long it took; as job_row.js does."""
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
    """Return the moment that `when_text` speaks of, None if there is none."""
    name = {"active": "started_at", "delayed": "promote_at", "inactive": "created_at"}.get(row["state"], "updated_at")
    at: int | None = row.get(name)  # type: ignore[assignment]
    return None if at in (HOLD_UNTIL_MS, WAIT_UNTIL_MS, ASIDE_UNTIL_MS) else at


def file_url(name: str) -> str:
    """Return the path under which a finished file is offered."""
    return "/files/" + quote(name, safe="")
