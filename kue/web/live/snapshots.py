"""The lists on pages: first a mark, then the rows from Redis."""

from __future__ import annotations

from typing import TypedDict

from kue.web.live.current import monitor, queue
from kue.web.present.job_row import JobId, JobRow, Mark, job_row

#: Number of jobs of each kind on the home page; the rest are counted, and on their own pages.
#: ``finished`` are jobs that finished while the page showed them; only its script keeps those.
HOME_ROWS = {"active": 50, "inactive": 25, "delayed": 15, "recent": 15, "finished": 25}

#: Jobs on one page of a list.
PAGE_ROWS = 50


class HomeLists(TypedDict):
    """The contents of the home page."""

    mark: Mark
    counts: dict[str, int]
    rows: list[JobRow]
    """Running, then queued in the order they will run, then delayed."""
    recent: list[JobRow]
    """Finished or failed last, newest first."""


class HomeAnswer(HomeLists):
    """The same for the page's script."""

    also: list[JobRow]
    """The requested jobs, as they are now."""


class StateList(TypedDict):
    """One page of the jobs in a state."""

    mark: Mark
    counts: dict[str, int]
    rows: list[JobRow]
    first: int
    """Rank of the first row, from 0 in the list's order."""
    total: int


def _run_order(row: JobRow) -> tuple[float, bool, JobId]:
    return row["priority"], isinstance(row["id"], str), row["id"]


def home_lists() -> HomeLists:
    """Read the contents of the home page. The mark is older than the rows, so no change can be lost between them."""
    read = queue()
    mark = monitor().relay.mark()
    counts = read.counts()
    active = [job_row(job) for job in read.range_by_state("active", 0, HOME_ROWS["active"] - 1, "asc")]
    waiting = [job_row(job) for job in read.range_by_state("inactive", 0, HOME_ROWS["inactive"] - 1, "asc")]
    delayed = [job_row(job) for job in read.range_by_state("delayed", 0, HOME_ROWS["delayed"] - 1, "asc")]
    recent = [
        job_row(job)
        for state in ("complete", "failed")
        for job in read.range_by_state(state, -HOME_ROWS["recent"], -1, "desc")
    ]
    recent.sort(key=lambda row: row.get("updated_at", 0), reverse=True)
    waiting.sort(key=_run_order)
    delayed.sort(key=lambda row: row.get("promote_at", 0))
    seen: set[JobId] = set()
    rows: list[JobRow] = []
    # A job that changes state between two of these reads is in both; the later state is correct.
    for row in reversed([*active, *waiting, *delayed]):
        if row["id"] not in seen:
            seen.add(row["id"])
            rows.append(row)
    rows.reverse()
    return {
        "mark": mark,
        "counts": counts,
        "rows": rows,
        "recent": [row for row in recent if row["id"] not in seen][: HOME_ROWS["recent"]],
    }


def rows_of(ids: list[int]) -> list[JobRow]:
    """Return the rows of the existing jobs."""
    return [job_row(job) for job in queue().get_many(ids)]


def state_list(
    state: str, job_type: str | None, order: str, first: int, after: str | None = None, before: str | None = None
) -> StateList:
    """Read one page of the jobs in a state, in the order of the sets in Redis or reversed.

    It starts at rank ``first``, or after the job ``after``, or ends before the job ``before``, if that is still in the
    list, so that paging neither repeats nor skips a job when others were added or removed meanwhile.
    The sets are sorted by priority, then id; delayed jobs of all types by due time. The mark is older than the rows.
    """
    read = queue()
    mark = monitor().relay.mark()
    counts = read.counts()
    total = (read.counts(job_type) if job_type else counts)[state]
    anchor = after or before
    rank = read.rank_in(anchor, state, job_type) if anchor else None
    if rank is not None:
        rank = total - 1 - rank if order == "desc" else rank
        first = rank + 1 if after else rank - PAGE_ROWS
    first = max(0, min(first, (total - 1) // PAGE_ROWS * PAGE_ROWS if total else 0))
    start, stop = first, first + PAGE_ROWS - 1
    if order == "desc":
        start, stop = -1 - stop, -1 - start
    jobs = read.range_by_type(job_type, state, start, stop) if job_type else read.range_by_state(state, start, stop)
    rows = [job_row(job) for job in jobs]
    if state == "delayed" and not job_type:
        rows.sort(key=lambda row: (row.get("promote_at", 0), *_run_order(row)[1:]))
    else:
        rows.sort(key=_run_order)
    if order == "desc":
        rows.reverse()
    return {"mark": mark, "counts": counts, "rows": rows, "first": first, "total": total}
