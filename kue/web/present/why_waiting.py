"""Why a job is not running, in one line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kue.redaction import safe_text
from kue.states import HOLD_UNTIL_MS
from kue.web.present.humanize import duration_text, ordinal
from kue.web.present.job_row import reason
from kue.web.present.worker_rows import crews, views

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

#: Milliseconds after which a job that is due should have been noticed.
NOTICED_MS = 5_000


def why_waiting(queue: Queue, job: Job) -> str | None:
    """Return the reason, or None if the job runs or has ended."""
    if job.state == "delayed":
        return _delayed(queue, job)
    if job.state == "inactive":
        return _inactive(queue, job)
    return None


def _delayed(queue: Queue, job: Job) -> str:
    if job.promote_at == HOLD_UNTIL_MS:
        return "It is paused. Start now lets it go on where it was."
    wait = (job.promote_at or 0) - time.time() * 1000
    if wait < -NOTICED_MS and all(worker["gone"] for worker in views(queue)):
        return "It is due, but no worker is running that would notice."
    when = f"in {duration_text(wait)}" if wait > 0 else "now"
    last = job.attempt_log[-1] if job.attempt_log and isinstance(job.attempt_log[-1], dict) else {}
    if last.get("outcome") == "postponed":
        # A handler put it off, for example because a host already has all the downloads it may have.
        return f"{_sentence(last.get('error'))} It is tried again {when}."
    if job.error and job.attempts_made:
        return f"Attempt {job.attempts_made} of {job.options.attempts or 1} failed; the next one is due {when}."
    return f"It is due {when}."


def _inactive(queue: Queue, job: Job) -> str:
    name = job.type
    if name in queue.paused():
        return f"The type {name} is paused."
    crew = crews(views(queue)).get(name)
    rank, before = queue.place(job)
    if crew is None and queue.counts(name)["active"] == 0:
        return f"No worker takes jobs of type {name}: start one."
    if crew is not None and not crew["taking"]:
        return f"No worker takes new jobs of type {name}: they have paused it or are stopping."
    if rank is None:
        return "It is not in line: a worker may be taking it this moment."
    slots = ""
    if crew is not None:
        full = crew["busy"] >= crew["slots"]
        slots = f"all {crew['slots']:,} slots are busy" if full else f"{crew['busy']:,} of {crew['slots']:,} slots busy"
        slots = slots.replace("all 1 slots are", "the only slot is")
    if rank == 0:
        return f"It is next in line for its type{': ' + slots if slots else ''}."
    behind = "" if before is None else f", behind job {before}"
    return f"It is {ordinal(rank + 1)} in line for its type{behind}{'; ' + slots if slots else ''}."


def _sentence(error: object) -> str:
    text = safe_text(reason(error)) or "Its handler put it off"
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
