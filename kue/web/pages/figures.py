"""Shared parts of the overview and the system page: jobs by type, charts, warnings."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, TypedDict

from flask import current_app

from kue.management.history import HALF_HOUR_S, MINUTE_S, Span
from kue.states import STATES
from kue.web.live.current import monitor, queue
from kue.web.present import health_warnings
from kue.web.present.chart import Plots, plots
from kue.web.present.worker_rows import TypeCapacity, WorkerView

#: The only warning while Redis is unreachable.
UNAVAILABLE = "Redis is not responding. No jobs run until it is back."
#: Maximum number of types on a page.
MAX_TYPES = 300
#: Seconds that a memory estimate is cached.
MEMORY_S = 20.0
#: Spans: their number, their length in seconds, and the labels of the left end, the middle and the right end.
CHARTS = {
    "minutes": ("Last hour by minute", "minute", 60, MINUTE_S, ["60 min ago", "30 min ago", "now"]),
    "halves": ("Last day by half hour", "half hour", 48, HALF_HOUR_S, ["24 h ago", "12 h ago", "now"]),
}


class TypeView(TypedDict):
    """The jobs of one type."""

    name: str
    counts: dict[str, int]
    paused: bool
    capacity: TypeCapacity | None
    """The totals of all workers."""


class Chart(TypedDict):
    """An hour or a day, as charts and as a table."""

    id: str
    title: str
    each: str
    spans: list[Span]
    plots: Plots
    marks: list[str]


def types(
    counts: dict[str, dict[str, int]], paused: set[str], capacity: dict[str, TypeCapacity]
) -> tuple[list[TypeView], int]:
    """Return the types listed on a page, and how many more there are."""
    empty = dict.fromkeys(STATES, 0)
    found: list[TypeView] = [
        {"name": name, "counts": counts.get(name, empty), "paused": name in paused, "capacity": capacity.get(name)}
        for name in sorted({*counts, *queue().processing(), *paused, *capacity})
    ]
    return found[:MAX_TYPES], max(0, len(found) - MAX_TYPES)


def chart(name: str, now_ms: float) -> Chart:
    """Read and draw the ``minutes`` of the last hour or the half hours (``halves``) of the last day."""
    title, each, slots, size_s, marks = CHARTS[name]
    spans = [span for span in queue().history.read(name) if span["at"] > now_ms - slots * size_s * 1000]
    drawn = plots(spans, slots, size_s * 1000, now_ms)
    return {"id": name, "title": title, "each": each, "spans": spans, "plots": drawn, "marks": marks}


def free_bytes() -> int | None:
    """Return the free disk space of the download folder; None if unknown, or without downloads here."""
    if not current_app.config["KUE_DOWNLOADS"]:
        return None
    folder: Path = current_app.config["KUE_SETTINGS"].download_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def memory() -> Any:
    """Return Redis's memory usage, read at most every MEMORY_S."""
    kept = current_app.extensions.get("kue_memory")
    if kept is None or time.monotonic() - kept[0] > MEMORY_S:
        kept = current_app.extensions["kue_memory"] = time.monotonic(), queue().memory()
    return kept[1]


def warnings(
    counts: dict[str, dict[str, int]],
    paused: set[str],
    capacity: dict[str, TypeCapacity],
    workers: list[WorkerView],
    leases: Any,
) -> list[str]:
    """Return the current problems, as sentences."""
    return [
        *health_warnings.of_types(counts, paused, capacity),
        *health_warnings.of_workers(workers),
        *health_warnings.of_clock(time.time() * 1000 - queue().server_ms()),
        *health_warnings.of_server(memory(), leases, free_bytes(), monitor().relay.stale),
    ]
