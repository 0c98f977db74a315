"""The Schedules page: next times, last runs, and a form to create and change schedules."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, current_app, render_template
from flask.typing import ResponseReturnValue

from kue.errors import QueueUnavailable
from kue.web.answers import SafeResponse
from kue.web.live.current import monitor, queue
from kue.web.pages import figures
from kue.web.present.schedule_view import schedule_views
from kue.web.present.worker_rows import worker_views

schedules = Blueprint("schedules", __name__)

#: Maximum number of schedules on the page.
MAX_SCHEDULES = 300
#: Seconds that their number is cached: every page needs it for its tab.
ANY_S = 5.0
#: A schedule overdue for longer than this is late, ms.
LATE_MS = 5_000


@schedules.app_context_processor
def _tab() -> dict[str, Any]:
    return {"shows_schedules": shows_schedules}


def shows_schedules() -> bool:
    """Return whether pages have the tab: there are schedules, or this process could fire some."""
    if queue().processing():
        return True
    kept: tuple[float, bool] | None = current_app.extensions.get("kue_has_schedules")
    if monitor().relay.stale:  # Redis is unreachable: do not wait for it again
        return kept is not None and kept[1]
    if kept is None or time.monotonic() - kept[0] > ANY_S:
        try:
            kept = time.monotonic(), queue().schedule_count() > 0
        except QueueUnavailable:
            kept = time.monotonic(), False
        current_app.extensions["kue_has_schedules"] = kept
    return kept[1]


def _view() -> dict[str, Any]:
    found = queue().schedules()
    listed = schedule_views(queue(), found[:MAX_SCHEDULES])
    now_ms = time.time() * 1000
    late = [each["name"] for each in listed if each["due_at"] is not None and each["due_at"] < now_ms - LATE_MS]
    warnings = []
    if late and all(worker["lost"] for worker in worker_views(queue())):
        warnings.append("No worker is running, so no schedule creates jobs.")
    elif late:
        warnings.append(f"Late by more than {LATE_MS // 1000} s: {', '.join(late[:5])}.")
    return {"warnings": warnings, "schedules": listed, "more": max(0, len(found) - MAX_SCHEDULES)}


def schedules_page() -> ResponseReturnValue:
    """Return the page; with status 503 while Redis is unreachable."""
    mark = monitor().relay.mark()
    try:
        view, counts = _view(), queue().counts()
    except QueueUnavailable:
        away = {"warnings": [figures.UNAVAILABLE], "unavailable": True}
        return render_template("pages/schedules.html", page="schedules", mark=mark, counts={}, view=away), 503
    return render_template(
        "pages/schedules.html", page="schedules", mark=mark, counts=counts, view=view, types=queue().types()
    )


@schedules.get("/monitor/schedules")
def part() -> ResponseReturnValue:
    """The dynamic part of the page, as HTML."""
    mark = monitor().relay.mark()
    body = render_template("refreshed/schedules.html", view=_view())
    headers = {"X-Kue-Mark": f"{mark['epoch']} {mark['seq']}", "Cache-Control": "no-store"}
    return SafeResponse(body, mimetype="text/html", headers=headers)
