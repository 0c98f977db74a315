"""Why a job is not running, in one line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kue.states import ASIDE_UNTIL_MS, HOLD_UNTIL_MS, WAIT_UNTIL_MS
from kue.text.humanize import duration_text, ordinal
from kue.text.redaction import safe_text
from kue.web.present.job_row import STATE_LABELS, reason
from kue.web.present.worker_rows import capacity_by_type, worker_views

if TYPE_CHECKING:
    from kue.job import Job
    from kue.queue import Queue

#: Number of worker processes that must die in a row during a job before it runs alone, as in rescue.lua.
SUSPECT_FROM = 2
#: Milliseconds within which a due job should be promoted.
PROMOTION_LATE_MS = 5_000


#: States in which a child is no longer waited for.
ENDED = ("complete", "failed")
#: Maximum number of children named.
CHILDREN_NAMED = 3


def why_waiting(queue: Queue, job: Job) -> str | None:
    """Return the reason, or None if the job runs or has finished."""
    if job.state == "delayed":
        return _delayed(queue, job)
    if job.state == "inactive":
        alone = f" It will run alone: {job.deaths} worker processes died while running it." if is_suspect(job) else ""
        return _inactive(queue, job) + alone
    return None


def is_suspect(job: Job) -> bool:
    """Return whether the job runs alone because worker processes died while running it."""
    return job.deaths >= SUSPECT_FROM


def _delayed(queue: Queue, job: Job) -> str:
    if job.promote_at == HOLD_UNTIL_MS:
        return "Suspended. “Start now” resumes it where it stopped."
    if job.promote_at == WAIT_UNTIL_MS and job.children_total:
        return _children(job)
    if job.promote_at == ASIDE_UNTIL_MS:
        return _aside(queue, job)
    wait = (job.promote_at or 0) - time.time() * 1000
    if wait < -PROMOTION_LATE_MS and all(worker["lost"] for worker in worker_views(queue)):
        return "Due now, but no worker is running."
    when = f"in {duration_text(wait)}" if wait > 0 else "now"
    last = job.attempt_log[-1] if job.attempt_log and isinstance(job.attempt_log[-1], dict) else {}
    if last.get("outcome") == "postponed":  # for example because the limit of downloads from its host is reached
        return f"{_sentence(last.get('error'))} Next try {when}."
    if job.error and job.attempts_made:
        return f"Attempt {job.attempts_made} of {job.options.attempts or 1} failed. Next attempt {when}."
    return f"Due {when}."


def _children(job: Job) -> str:
    """Return which children a job waits for, naming up to three."""
    left = job.children_total - job.children_ended
    named = []
    for child in job.children():
        if child.state not in ENDED or (child.state == "failed" and job.raw.get("on_child_failure") == "wait"):
            named.append(f"job {child.id} ({STATE_LABELS.get(str(child.state), '').lower()})")
        if len(named) == CHILDREN_NAMED:
            break
    more = f" and {left - len(named):,} more" if left > len(named) else ""
    ended = f"{job.children_ended:,} of its {job.children_total:,} children have ended."
    return f"{ended} It waits for {', '.join(named)}{more}." if named else ended


def _aside(queue: Queue, job: Job) -> str:
    """Return the reason of a job set aside by the limit of its key."""
    place = queue.limit_place(job.id) if job.id is not None else None
    limit = next((each for each in queue.limits() if each["type"] == job.type and each["by"]), None)
    if place is None or limit is None:
        return "Being reserved by a worker right now."
    key, rank = place
    count = limit["concurrency"]
    may = [f"start {limit['rate']}"] if limit["rate"] else []
    may += [f"run {count:,} at once"] if count else []
    besides = ""
    if job.type in queue.paused():
        besides = f" Type {job.type} is paused."
    elif not any(job.type in (name for name, *_ in each["types"]) for each in worker_views(queue) if not each["lost"]):
        besides = f" No worker processes jobs of type {job.type}."
    return f"{ordinal(rank)} of key {safe_text(key) or '(none)'}, which may {' and '.join(may)}.{besides}"


def _inactive(queue: Queue, job: Job) -> str:
    name = job.type
    if name in queue.paused():
        return f"Type {name} is paused."
    active = {each: counts["active"] for each, counts in queue.counts_by_type().items()}
    capacity = capacity_by_type(worker_views(queue), active, queue.leases()["held"]).get(name)
    rank, before = queue.place(job)
    if capacity is None and not active.get(name):
        return f"No worker processes jobs of type {name}."
    if capacity is not None and not capacity["taking"]:
        return f"All workers for type {name} are paused or shutting down."
    if rank is None:
        return "Being reserved by a worker right now."
    slots = _limited(queue, name)
    if capacity is not None and not slots:
        busy, total = capacity["busy"], capacity["slots"]
        if busy >= total:
            slots = f" All {total:,} slots are busy." if total > 1 else " The only slot is busy."
        else:
            slots = f" {busy:,} of {total:,} slots are busy."
    if rank == 0:
        return f"Next in the queue for its type.{slots}"
    behind = "" if before is None else f", after job {before}"
    return f"{ordinal(rank + 1)} in the queue for its type{behind}.{slots}"


def _limited(queue: Queue, job_type: str) -> str:
    """Return a sentence about the limit of a whole type, "" if it has none."""
    limit = next((each for each in queue.limits() if each["type"] == job_type and not each["by"]), None)
    if limit is None:
        return ""
    if limit["held_ms"]:
        return f" The type is rate limited for {duration_text(limit['held_ms'])}."
    may = [f"start {limit['rate']}"] if limit["rate"] else []
    may += [f"run {limit['concurrency']:,} at once ({limit['running']:,} running)"] if limit["concurrency"] else []
    return f" The type may {' and '.join(may)}." if may else ""


def _sentence(error: object) -> str:
    text = safe_text(reason(error)) or "Postponed by its handler"
    text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."
