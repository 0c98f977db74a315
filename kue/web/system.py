"""The system page: types and states, what this process works on, charts, and warnings only when something is wrong."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any, TypedDict

from flask import Blueprint, Response, current_app, jsonify, render_template, request
from flask.typing import ResponseReturnValue

from kue.errors import InvalidJob
from kue.web.api import queue
from kue.web.audit import audit
from kue.web.chart import chart
from kue.web.lists import monitor
from kue.web.monitor import PAGES, PLAIN
from kue.web.texts import duration_text, size_text

system = Blueprint("system", __name__)

#: Free bytes in the download folder below which the page warns.
DISK_LOW = 1024**3
#: Types that the page lists.
MAX_TYPES = 300
#: Highest concurrency that the page sets.
MAX_CONCURRENCY = 1000

_began = time.monotonic()


class TypeView(TypedDict):
    """One row of the matrix."""

    name: str
    counts: dict[str, int]
    paused: bool
    concurrency: int | None
    """How many this process runs at once; None if it does not work on the type."""


class SystemView(TypedDict):
    """What the page shows."""

    types: list[TypeView]
    more_types: int
    warnings: list[str]
    facts: dict[str, str]
    hour: Any
    day: Any


def _types() -> list[TypeView]:
    paused, processing = set(queue().paused()), queue().processing()
    by_type = queue().counts_by_type()
    names = sorted(set(by_type) | set(processing) | paused)
    empty = dict.fromkeys(("inactive", "active", "complete", "failed", "delayed"), 0)
    return [
        {
            "name": name,
            "counts": by_type.get(name, empty),
            "paused": name in paused,
            "concurrency": processing.get(name),
        }
        for name in names
    ]


def _free_bytes() -> int | None:
    folder: Path = current_app.config["KUE_SETTINGS"].download_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _warnings(types: list[TypeView], free: int | None) -> list[str]:
    warnings = []
    for each in types:
        counts = each["counts"]
        waiting = f"{counts['inactive']:,} job{'' if counts['inactive'] == 1 else 's'}"
        if counts["inactive"] and each["paused"]:
            warnings.append(f"{waiting} of type {each['name']} wait because the type is paused.")
        elif counts["inactive"] and not counts["active"] and each["concurrency"] is None:
            warnings.append(f"{waiting} of type {each['name']} wait and none is running: is there a worker for it?")
    if free is not None and free < DISK_LOW:
        warnings.append(f"Only {size_text(free)} are free where downloads are kept.")
    relay = monitor().relay
    if relay.stale:
        warnings.append(f"The pages cannot be kept fresh: {relay.stale}.")
    return warnings


def _view() -> SystemView:
    begun = time.monotonic()
    types = _types()
    answered_ms = (time.monotonic() - begun) * 1000
    free = _free_bytes()
    here = monitor()
    facts = {
        "This process": f"pid {os.getpid()}, running for {duration_text((time.monotonic() - _began) * 1000)}",
        "Redis answers in": f"{answered_ms:.1f} ms",
        "Pages open": f"{here.members(PAGES):,}",
        "Other clients": f"{here.members(PLAIN):,}",
        "Clients cut off": f"{here.cut_off:,}",
        "Events heard": f"{sum(here.relay.heard.values()):,}",
        "Work done in all": duration_text(queue().work_time()),
    }
    if free is not None:
        facts["Free for downloads"] = size_text(free)
    hour, day = here.history.minutes(60), here.history.day(30)
    return {
        "types": types[:MAX_TYPES],
        "more_types": max(0, len(types) - MAX_TYPES),
        "warnings": _warnings(types, free),
        "facts": facts,
        "hour": {"points": hour, "chart": chart(hour, 60)},
        "day": {"points": day, "chart": chart(day, 49)},
    }


@system.get("/system")
def page() -> ResponseReturnValue:
    """The page."""
    mark = monitor().relay.mark()
    return render_template("system.html", page="system", mark=mark, counts=queue().counts(), system=_view())


@system.get("/monitor/system")
def part() -> ResponseReturnValue:
    """Its changing part, as HTML."""
    mark = monitor().relay.mark()
    body = render_template("_system.html", system=_view())
    headers = {"X-Kue-Mark": f"{mark['epoch']} {mark['seq']}", "Cache-Control": "no-store"}
    return Response(body, mimetype="text/html", headers=headers)


@system.post("/monitor/type/<act>")
def act(act: str) -> ResponseReturnValue:
    """``pause`` or ``resume`` a type for every worker, or set this process's ``concurrency`` for it."""
    asked = request.get_json(silent=True)
    name = asked.get("type") if isinstance(asked, dict) else None
    if not isinstance(name, str) or not name:
        raise InvalidJob("send the name of a type")
    if act == "concurrency":
        count = asked.get("count")
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_CONCURRENCY:
            raise InvalidJob(f"count is a whole number from 1 to {MAX_CONCURRENCY}")
        queue().concurrency(name, count)
        audit(f"concurrency {count}", f"type {name!r}")
    elif act in ("pause", "resume"):
        (queue().pause if act == "pause" else queue().resume)(name)
        audit(act, f"type {name!r}")
    else:
        return jsonify({"error": f"there is no act {act[:40]}"}), 404
    return jsonify({"message": "done"})
