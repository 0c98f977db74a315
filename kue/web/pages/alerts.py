"""The Alerts page: active alerts, webhooks, and their last deliveries."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint, current_app, render_template
from flask.typing import ResponseReturnValue

from kue.errors import QueueUnavailable
from kue.web.answers import SafeResponse
from kue.web.live.current import monitor, queue
from kue.web.pages import figures
from kue.web.present.webhook_view import webhook_view

alerts = Blueprint("alerts", __name__)

#: Maximum number of webhooks on the page.
MAX_WEBHOOKS = 100
#: Seconds that the number of alerts is cached: every page shows it in a tab.
TAB_S = 5.0


@alerts.app_context_processor
def _tab() -> dict[str, Any]:
    return {"alert_count": alert_count}


def alert_count() -> int:
    """Return the number of active alerts, for the tab."""
    kept: tuple[float, int] | None = current_app.extensions.get("kue_alerts")
    if monitor().relay.stale:  # Redis is unreachable: do not wait for it again
        return 0 if kept is None else kept[1]
    if kept is None or time.monotonic() - kept[0] > TAB_S:
        try:
            kept = time.monotonic(), len(queue().alerts())
        except QueueUnavailable:
            kept = time.monotonic(), 0
        current_app.extensions["kue_alerts"] = kept
    return kept[1]


def _view() -> dict[str, Any]:
    found = queue().webhooks()
    backlog = queue().webhook_backlog()
    waiting, lost = backlog["waiting"], backlog["lost"]
    warnings = []
    if lost:
        warnings.append(f"{lost:,} webhook events were lost because more than 100,000 were waiting for delivery.")
    if found and waiting > 1000:
        warnings.append(f"{waiting:,} webhook events are waiting for delivery. Is a worker running?")
    return {
        "warnings": warnings,
        "alerts": queue().alerts(),
        "webhooks": [webhook_view(queue(), each) for each in found[:MAX_WEBHOOKS]],
        "more": max(0, len(found) - MAX_WEBHOOKS),
    }


def alerts_page() -> ResponseReturnValue:
    """Return the page; with status 503 while Redis is unreachable."""
    mark = monitor().relay.mark()
    try:
        view, counts = _view(), queue().counts()
    except QueueUnavailable:
        away = {"warnings": [figures.UNAVAILABLE], "unavailable": True}
        return render_template("pages/alerts.html", page="alerts", mark=mark, counts={}, view=away), 503
    return render_template("pages/alerts.html", page="alerts", mark=mark, counts=counts, view=view)


@alerts.get("/monitor/alerts")
def part() -> ResponseReturnValue:
    """The dynamic part of the page, as HTML."""
    mark = monitor().relay.mark()
    body = render_template("refreshed/alerts.html", view=_view())
    headers = {"X-Kue-Mark": f"{mark['epoch']} {mark['seq']}", "Cache-Control": "no-store"}
    return SafeResponse(body, mimetype="text/html", headers=headers)
