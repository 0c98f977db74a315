"""Convert time spans to bars, lines and grid lines of charts that a template draws as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypedDict

from kue.management.history import Span
from kue.text.humanize import duration_text
from kue.web.present.humanize import PERCENTILES

#: Size of a chart's inner frame in SVG units; it is stretched to the available width.
WIDTH, HEIGHT = 600, 100
#: Grid lines of the logarithmic time scale, ms.
TIME_MARKS = (1, 10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000, 36_000_000)
#: Least distance of two marks, percent of the height.
MARK_DISTANCE = 20


class Bar(TypedDict):
    """A bar: completed jobs below, failed ones on top."""

    x: float
    width: float
    complete_y: float
    complete_height: float
    failed_y: float
    failed_height: float


class Mark(TypedDict):
    """A grid line."""

    y: float
    """From the top, in percent of the height."""
    text: str


class Line(TypedDict):
    """A line of one statistic, with gaps where it is unknown."""

    name: str
    pieces: list[str]
    """The points of one polyline per part."""


class Slot(TypedDict):
    """A column with a hover value."""

    x: float
    width: float
    span: Span


class Plots(TypedDict):
    """The charts of an hour or a day."""

    finished: list[Bar]
    finished_marks: list[Mark]
    waiting: Line
    waiting_marks: list[Mark]
    times: list[Line]
    time_marks: list[Mark]
    slots: list[Slot]
    known: bool
    """Whether anything was recorded."""


def top_of(most: float) -> int:
    """Round up to 1, 2, 5, 10, 20, 50 …"""
    if most <= 1:
        return 1
    power = 10 ** math.floor(math.log10(most))
    return int(next(power * step for step in (1, 2, 5, 10) if power * step >= most))


def _marks(top: int) -> list[Mark]:
    middle = [Mark(y=50.0, text=f"{top // 2:,}")] if top % 2 == 0 else []
    return [Mark(y=0.0, text=f"{top:,}"), *middle]


def _time_marks(highest: int) -> list[Mark]:
    """Return the marks of a logarithmic axis, from the top, without those that would overlap."""
    marks: list[Mark] = []
    for ms in reversed([mark for mark in TIME_MARKS if mark <= highest]):
        y = round(100 * (1 - math.log10(ms) / math.log10(highest)), 2)
        if not marks or y - marks[-1]["y"] >= MARK_DISTANCE:
            marks.append(Mark(y=y, text=duration_text(ms).replace(".0 s", " s")))
    return marks


def _pieces(points: list[tuple[float, float] | None]) -> list[str]:
    pieces: list[list[tuple[float, float]]] = [[]]
    for point in points:
        if point is not None:
            pieces[-1].append(point)
        elif pieces[-1]:
            pieces.append([])
    for piece in pieces:
        if len(piece) == 1:  # drawn as a short dash
            x, y = piece[0]
            piece[:] = [(x - 4, y), (x + 4, y)]
    return [" ".join(f"{x:.1f},{y:.1f}" for x, y in piece) for piece in pieces if piece]


def plots(spans: list[Span], slots: int, size_ms: int, now_ms: float) -> Plots:
    """Place ``spans`` of ``size_ms`` each in ``slots`` columns; the current one at ``now_ms`` is at the right end."""
    end = int(now_ms // size_ms)
    placed = {slots - 1 - (end - span["at"] // size_ms): span for span in spans}
    placed = {place: span for place, span in placed.items() if 0 <= place < slots}
    step = WIDTH / slots
    top = top_of(max((span.get("complete", 0) + span.get("failed", 0) for span in placed.values()), default=0))
    bars = []
    for place, span in sorted(placed.items()):
        complete, failed = span.get("complete", 0) * HEIGHT / top, span.get("failed", 0) * HEIGHT / top
        bars.append(
            Bar(
                x=round(place * step + step * 0.12, 2),
                width=round(step * 0.76, 2),
                complete_y=round(HEIGHT - complete, 2),
                complete_height=round(complete, 2),
                failed_y=round(HEIGHT - complete - failed, 2),
                failed_height=round(failed, 2),
            )
        )
    waiting_top = top_of(max((span.get("waiting", 0) for span in placed.values()), default=0))

    def line(name: str, field: str, share: Callable[[float], float]) -> Line:
        points: list[tuple[float, float] | None] = []
        for place in range(slots):
            value: Any = placed[place].get(field) if place in placed else None
            known = isinstance(value, int)
            points.append((place * step + step / 2, HEIGHT * (1 - min(1.0, share(value)))) if known else None)
        return {"name": name, "pieces": _pieces(points)}

    fields = {f"{name}_{p}": f"{name}_{field}" for name in ("wait", "run") for p, field in PERCENTILES}
    times: list[Any] = [span.get(field, 0) for span in placed.values() for field in fields.values()]
    longest = max(times, default=0)
    highest = next((mark for mark in TIME_MARKS if mark >= longest), TIME_MARKS[-1])
    decades = math.log10(max(10, highest))
    return {
        "finished": bars,
        "finished_marks": _marks(top),
        "waiting": line("waiting", "waiting", lambda value: value / waiting_top),
        "waiting_marks": _marks(waiting_top),
        "times": [
            line(name, field, lambda value: math.log10(max(1, value)) / decades) for name, field in fields.items()
        ],
        "time_marks": _time_marks(max(10, highest)),
        "known": bool(placed),
        "slots": [
            Slot(x=round(place * step, 2), width=round(step, 2), span=span) for place, span in sorted(placed.items())
        ],
    }
