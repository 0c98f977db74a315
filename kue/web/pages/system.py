"""The system page: types, workers, charts, Redis, and warnings if there are problems."""

from __future__ import annotations

import os
import time
from typing import Any, TypedDict

from flask import Blueprint, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from kue.errors import InvalidJob, QueueUnavailable
from kue.management.limits import Limit
from kue.text.humanize import duration_text, size_text
from kue.web.access.audit import audit
from kue.web.answers import SafeResponse
from kue.web.live.current import monitor, queue
from kue.web.live.rooms import PAGES, PLAIN
from kue.web.pages import figures
from kue.web.present.limits_view import limits_view
from kue.web.present.worker_rows import WorkerView, capacity_by_type, worker_views

system = Blueprint("system", __name__)

#: Maximum number of workers on the page.
MAX_WORKERS = 100
#: Maximum number of limits on the page.
MAX_LIMITS = 100
#: Maximum concurrency that can be set on the page.
MAX_CONCURRENCY = 1000

_started = time.monotonic()


class SystemView(TypedDict, total=False):
    """The contents of the page; only ``warnings`` while Redis is unreachable."""

    warnings: list[str]
    unavailable: bool
    types: list[figures.TypeView]
    more_types: int
    workers: list[WorkerView]
    more_workers: int
    limits: list[Limit]
    facts: dict[str, str]
    charts: list[figures.Chart]


def _retention() -> str:
    """Return how long finished jobs are kept, according to this process's settings."""
    parts = []
    for state, rule in sorted(queue().retention().items()):
        newest = "" if rule.keep is None else f"the newest {rule.keep:,}"
        age = "" if rule.max_age_ms is None else f"for {duration_text(rule.max_age_ms)}"
        parts.append(f"{state}: {', '.join(filter(None, (newest, age)))}")
    return "; ".join(parts) or "unlimited"


def _facts(memory: Any, leases: Any, free: int | None, answered_ms: float) -> dict[str, str]:
    here = monitor()
    used, cost = memory["used"], memory["queue"]
    limit = f" of {size_text(memory['limit'])}" if memory["limit"] else ""
    peak = f", peak {size_text(memory['peak'])}" if memory["peak"] else ""
    each = f", {size_text(cost / memory['jobs'])} per job" if cost and memory["jobs"] else ""
    facts = {
        "Key prefix": queue().prefix,
        "Redis memory": f"{size_text(used)}{limit}{peak}" if used else None,
        "This queue (estimate)": f"{size_text(cost)}{each}" if cost is not None else None,
        "Redis round trip": f"{answered_ms:.1f} ms",
        "Retention": _retention(),
        "Leased jobs": f"{leases['held']:,}",
        "Total run time": duration_text(queue().work_time()),
        "Free disk space": None if free is None else size_text(free),
        "Open pages": f"{here.members(PAGES):,}",
        "Other Socket.IO clients": f"{here.members(PLAIN):,}",
        "Slow clients disconnected": f"{here.slow_clients.dropped:,}",
        "Events received": f"{sum(here.relay.received.values()):,}",
        "Web process": f"pid {os.getpid()}, up {duration_text((time.monotonic() - _started) * 1000)}",
        "Event loop lag": f"{here.lag.worst_s * 1000:.0f} ms (maximum of {here.lag.WINDOW_S:.0f} s)",
    }
    return {name: value for name, value in facts.items() if value is not None}


def _view() -> SystemView:
    begun = time.monotonic()
    counts = queue().counts_by_type()
    answered_ms = (time.monotonic() - begun) * 1000
    paused, workers = set(queue().paused()), worker_views(queue())
    leases = queue().leases()
    active = {name: each["active"] for name, each in counts.items()}
    capacity = capacity_by_type(workers, active, leases["held"])
    types, more_types = figures.types(counts, paused, capacity)
    return {
        "warnings": figures.warnings(counts, paused, capacity, workers, leases),
        "types": types,
        "more_types": more_types,
        "workers": workers[:MAX_WORKERS],
        "more_workers": max(0, len(workers) - MAX_WORKERS),
        "limits": queue().limits()[:MAX_LIMITS],
        "facts": _facts(figures.memory(), leases, figures.free_bytes(), answered_ms),
        "charts": [figures.chart(name, time.time() * 1000) for name in figures.CHARTS],
    }


@system.get("/system")
def page() -> ResponseReturnValue:
    """The page; with status 503 while Redis is unreachable."""
    mark = monitor().relay.mark()
    try:
        view, counts = _view(), queue().counts()
        limits = limits_view(queue()) if current_app.config["KUE_DOWNLOADS"] else None
    except QueueUnavailable:
        away: SystemView = {"warnings": [figures.UNAVAILABLE], "unavailable": True}
        return render_template("pages/system.html", page="system", mark=mark, counts={}, system=away), 503
    return render_template("pages/system.html", page="system", mark=mark, counts=counts, system=view, limits=limits)


@system.get("/monitor/system")
def part() -> ResponseReturnValue:
    """The dynamic part of the page, as HTML."""
    mark = monitor().relay.mark()
    body = render_template("refreshed/system.html", system=_view())
    headers = {"X-Kue-Mark": f"{mark['epoch']} {mark['seq']}", "Cache-Control": "no-store"}
    return SafeResponse(body, mimetype="text/html", headers=headers)


def _set_slots(wanted: object, name: str, count: int) -> None:
    """Set a worker's slots for a type; without a worker's name, those of this process. Raises InvalidJob."""
    found = next((each for each in worker_views(queue()) if each["name"] == wanted and not each["lost"]), None)
    if wanted is not None and (found is None or name not in [kind for kind, *_ in found["types"]]):
        raise InvalidJob("there is no such worker, or it does not process that type")
    if found is None or (found["here"] and name in queue().processing()):
        queue().concurrency(name, count)  # at once
    else:
        queue().set_slots(found["name"], name, count)
    audit(f"concurrency {count}", f"type {name!r} of {found['name'] if found else 'this process'}")


@system.post("/monitor/type/<action>")
def run(action: str) -> ResponseReturnValue:
    """``pause`` or ``resume`` a type for all workers, or set one worker's ``concurrency`` for it."""
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict):
        asked = {}
    name = asked.get("type")
    if not isinstance(name, str) or not name:
        raise InvalidJob("type must be the name of a job type")
    if action == "concurrency":
        count = asked.get("count")
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_CONCURRENCY:
            raise InvalidJob(f"count must be a whole number from 1 to {MAX_CONCURRENCY:,}")
        _set_slots(asked.get("worker"), name, count)
    elif action in ("pause", "resume"):
        (queue().pause if action == "pause" else queue().resume)(name)
        audit(action, f"type {name!r}")
    else:
        return jsonify({"error": f"unknown action: {action[:40]}"}), 404
    return jsonify({"message": "done"})
