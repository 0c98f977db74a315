"""The overview: jobs by type and state, throughput and times of the last hour, the oldest waiting job, errors."""

from __future__ import annotations

import time
from typing import Any, TypedDict

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from kue.errors import QueueUnavailable
from kue.management.history import Span, combine
from kue.web.answers import SafeResponse
from kue.web.live.current import monitor, queue
from kue.web.pages import figures
from kue.web.present.job_row import JobId, JobRow, job_row, reason
from kue.web.present.worker_rows import capacity_by_type, worker_views

overview = Blueprint("overview", __name__)

#: Maximum number of errors on the page.
MAX_ERRORS = 8


class ErrorView(TypedDict):
    """A frequent error."""

    type: str
    error: str
    count: int
    id: JobId
    """The newest job that failed with it."""
    at: int | None


class OverviewView(TypedDict, total=False):
    """The contents of the page; only ``warnings`` while Redis is unreachable."""

    warnings: list[str]
    unavailable: bool
    types: list[figures.TypeView]
    more_types: int
    busy: int
    slots: int
    workers: int
    hour: Span
    """The last hour as one span: sums, medians, and the p95 of its slowest minute."""
    minutes: int
    """Minutes of the last hour with recorded statistics."""
    oldest: JobRow | None
    waiting_ms: int
    """Waiting time of the oldest waiting job."""
    errors: list[ErrorView]
    failed: int
    """Failed jobs whose errors were counted."""
    chart: figures.Chart


def _view() -> OverviewView:
    now_ms = time.time() * 1000
    counts, paused, workers = queue().counts_by_type(), set(queue().paused()), worker_views(queue())
    leases = queue().leases()
    active = {name: each["active"] for name, each in counts.items()}
    capacity = capacity_by_type(workers, active, leases["held"])
    types, more_types = figures.types(counts, paused, capacity)
    oldest = queue().oldest_waiting()
    errors = queue().recent_errors()
    chart = figures.chart("minutes", now_ms)
    due_ms = max(oldest.created_at or 0, oldest.promote_at or 0) if oldest else 0
    shown: list[Any] = [{**each, "error": reason(each["error"]) or "(no message)"} for each in errors[:MAX_ERRORS]]
    return {
        "warnings": figures.warnings(counts, paused, capacity, workers, leases),
        "types": types,
        "more_types": more_types,
        "busy": sum(each["busy"] for each in capacity.values()),
        "slots": sum(each["slots"] for each in capacity.values()),
        "workers": sum(not worker["lost"] for worker in workers),
        "hour": combine(chart["spans"]),
        "minutes": len(chart["spans"]),
        "oldest": job_row(oldest) if oldest else None,
        "waiting_ms": max(0, int(now_ms - due_ms)),
        "errors": shown,
        "failed": sum(each["count"] for each in errors),
        "chart": chart,
    }


def overview_page() -> ResponseReturnValue:
    """Return the page; with status 503 while Redis is unreachable."""
    mark = monitor().relay.mark()
    try:
        view, counts = _view(), queue().counts()
    except QueueUnavailable:
        away: OverviewView = {"warnings": [figures.UNAVAILABLE], "unavailable": True}
        return render_template("pages/overview.html", page="overview", mark=mark, counts={}, view=away), 503
    return render_template("pages/overview.html", page="overview", mark=mark, counts=counts, view=view)


@overview.get("/overview")
def page() -> ResponseReturnValue:
    """The page."""
    return overview_page()


@overview.get("/monitor/overview")
def part() -> ResponseReturnValue:
    """The dynamic part of the page, as HTML."""
    mark = monitor().relay.mark()
    body = render_template("refreshed/overview.html", view=_view(), counts=queue().counts())
    headers = {"X-Kue-Mark": f"{mark['epoch']} {mark['seq']}", "Cache-Control": "no-store"}
    return SafeResponse(body, mimetype="text/html", headers=headers)
