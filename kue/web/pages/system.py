"""The system page: types and states, workers, charts, memory, and warnings only when something is wrong."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, TypedDict

from flask import Blueprint, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from kue.errors import InvalidJob, QueueUnavailable
from kue.management.history import HALF_HOUR_S, MINUTE_S, Span
from kue.states import STATES
from kue.web.access.audit import audit
from kue.web.answers import SafeResponse
from kue.web.live.current import monitor, queue
from kue.web.live.socket_events import PAGES, PLAIN
from kue.web.present import health_warnings
from kue.web.present.chart import Plots, plots
from kue.web.present.humanize import duration_text, size_text
from kue.web.present.limits_view import limits_view
from kue.web.present.worker_rows import Crew, WorkerView, crews, views

system = Blueprint("system", __name__)

#: Types and workers that the page lists.
MAX_TYPES, MAX_WORKERS = 300, 100
#: Highest concurrency that the page sets.
MAX_CONCURRENCY = 1000
#: Seconds for which an estimate of the memory is good enough.
MEMORY_S = 20.0

_began = time.monotonic()


class TypeView(TypedDict):
    """One row of the matrix."""

    name: str
    counts: dict[str, int]
    paused: bool
    crew: Crew | None
    """What all workers do for it."""


class Chart(TypedDict):
    """An hour or a day: drawn, and as a table."""

    id: str
    title: str
    each: str
    spans: list[Span]
    plots: Plots
    marks: list[str]
    """What stands below the left end, the middle and the right end."""


class SystemView(TypedDict):
    """What the page shows."""

    types: list[TypeView]
    more_types: int
    workers: list[WorkerView]
    more_workers: int
    warnings: list[str]
    facts: dict[str, str]
    charts: list[Chart]


def _types(counts: dict[str, dict[str, int]], paused: set[str], hands: dict[str, Crew]) -> list[TypeView]:
    empty = dict.fromkeys(STATES, 0)
    return [
        {
            "name": name,
            "counts": counts.get(name, empty),
            "paused": name in paused,
            "crew": hands.get(name),
        }
        for name in sorted({*counts, *queue().processing(), *paused, *hands})
    ]


def _free_bytes() -> int | None:
    folder: Path = current_app.config["KUE_SETTINGS"].download_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _memory() -> Any:
    kept = current_app.extensions.get("kue_memory")
    if kept is None or time.monotonic() - kept[0] > MEMORY_S:
        kept = current_app.extensions["kue_memory"] = time.monotonic(), queue().memory()
    return kept[1]


def _retention() -> str:
    """Say how long jobs that ended are kept, as this process was told."""
    parts = []
    for state, rule in sorted(queue().retention().items()):
        newest = "" if rule.keep is None else f"the newest {rule.keep:,}"
        age = "" if rule.max_age_ms is None else f"for {duration_text(rule.max_age_ms)}"
        parts.append(f"{state}: {', '.join(filter(None, (newest, age)))}")
    return "; ".join(parts) or "until somebody removes them"


def _charts(now_ms: float) -> list[Chart]:
    history = queue().history
    found: list[Chart] = []
    for name, title, each, slots, size_s, marks in (
        ("minutes", "The last hour", "minute", 60, MINUTE_S, ["60 min ago", "30 min ago", "now"]),
        ("halves", "The last day", "half hour", 48, HALF_HOUR_S, ["24 h ago", "12 h ago", "now"]),
    ):
        spans = [span for span in history.read(name) if span["at"] > now_ms - slots * size_s * 1000]
        drawn = plots(spans, slots, size_s * 1000, now_ms)
        found.append({"id": name, "title": title, "each": each, "spans": spans, "plots": drawn, "marks": marks})
    return found


def _facts(memory: Any, leases: Any, free: int | None, answered_ms: float) -> dict[str, str]:
    here = monitor()
    used, cost = memory["used"], memory["queue"]
    limit = f" of {size_text(memory['limit'])}" if memory["limit"] else ""
    each = f", {size_text(cost / memory['jobs'])} a job" if cost and memory["jobs"] else ""
    facts = {
        "Redis uses": f"{size_text(used)}{limit}" if used else None,
        "This queue, about": f"{size_text(cost)}{each}" if cost is not None else None,
        "Redis answers in": f"{answered_ms:.1f} ms",
        "Jobs that ended stay": _retention(),
        "Jobs under a lease": f"{leases['held']:,}",
        "Work done in all": duration_text(queue().work_time()),
        "Free for downloads": None if free is None else size_text(free),
        "Pages open here": f"{here.members(PAGES):,}",
        "Other clients here": f"{here.members(PLAIN):,}",
        "Clients cut off here": f"{here.cut_off:,}",
        "Events heard here": f"{sum(here.relay.heard.values()):,}",
        "This web process": f"pid {os.getpid()}, up {duration_text((time.monotonic() - _began) * 1000)}",
        "Its hub was late by": f"{here.lag.worst_s * 1000:.0f} ms at most, in the last {here.lag.WINDOW_S:.0f} s",
    }
    return {name: value for name, value in facts.items() if value is not None}


def _view() -> SystemView:
    begun = time.monotonic()
    counts = queue().counts_by_type()
    answered_ms = (time.monotonic() - begun) * 1000
    paused, workers = set(queue().paused()), views(queue())
    hands = crews(workers)
    types = _types(counts, paused, hands)
    free, memory, leases = _free_bytes(), _memory(), queue().leases()
    return {
        "types": types[:MAX_TYPES],
        "more_types": max(0, len(types) - MAX_TYPES),
        "workers": workers[:MAX_WORKERS],
        "more_workers": max(0, len(workers) - MAX_WORKERS),
        "warnings": [
            *health_warnings.of_types(counts, paused, hands),
            *health_warnings.of_workers(workers),
            *health_warnings.of_clock(time.time() * 1000 - queue().server_ms()),
            *health_warnings.of_server(memory, leases, free, monitor().relay.stale),
        ],
        "facts": _facts(memory, leases, free, answered_ms),
        "charts": _charts(time.time() * 1000),
    }


@system.get("/system")
def page() -> ResponseReturnValue:
    """The page. While Redis is away it says so, under the status 503."""
    mark = monitor().relay.mark()
    try:
        view, counts = _view(), queue().counts()
        return render_template(
            "system.html", page="system", mark=mark, counts=counts, system=view, limits=limits_view(queue())
        )
    except QueueUnavailable:
        away = {"warnings": ["Redis does not answer. Nothing runs until it is back."], "away": True}
        return render_template("system.html", page="system", mark=mark, counts={}, system=away), 503


@system.get("/monitor/system")
def part() -> ResponseReturnValue:
    """Its changing part, as HTML."""
    mark = monitor().relay.mark()
    body = render_template("_system.html", system=_view())
    headers = {"X-Kue-Mark": f"{mark['epoch']} {mark['seq']}", "Cache-Control": "no-store"}
    return SafeResponse(body, mimetype="text/html", headers=headers)


def _set_slots(wanted: object, name: str, count: int) -> None:
    """Let a worker run ``count`` jobs of a type at once; without a worker's name, this process. Raises InvalidJob."""
    found = next((each for each in views(queue()) if each["name"] == wanted and not each["gone"]), None)
    if wanted is not None and (found is None or name not in [kind for kind, *_ in found["types"]]):
        raise InvalidJob("no such worker is there, or it does not work on that type")
    if found is None or (found["here"] and name in queue().processing()):
        queue().concurrency(name, count)  # at once
    else:
        queue().set_slots(found["name"], name, count)
    audit(f"concurrency {count}", f"type {name!r} of {found['name'] if found else 'this process'}")


@system.post("/monitor/type/<act>")
def act(act: str) -> ResponseReturnValue:
    """``pause`` or ``resume`` a type for every worker, or set one worker's ``concurrency`` for it."""
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict):
        asked = {}
    name = asked.get("type")
    if not isinstance(name, str) or not name:
        raise InvalidJob("send the name of a type")
    if act == "concurrency":
        count = asked.get("count")
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_CONCURRENCY:
            raise InvalidJob(f"count is a whole number from 1 to {MAX_CONCURRENCY}")
        _set_slots(asked.get("worker"), name, count)
    elif act in ("pause", "resume"):
        (queue().pause if act == "pause" else queue().resume)(name)
        audit(act, f"type {name!r}")
    else:
        return jsonify({"error": f"there is no act {act[:40]}"}), 404
    return jsonify({"message": "done"})
