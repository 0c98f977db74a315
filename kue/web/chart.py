"""Points -> the places of bars and a line in an SVG that a template draws. Pure."""

from __future__ import annotations

from typing import TypedDict

from kue.web.history import Minute

WIDTH, HEIGHT = 720, 160


class Bar(TypedDict):
    """One column: completed below, failed on top of it."""

    x: float
    width: float
    complete_y: float
    complete_height: float
    failed_y: float
    failed_height: float


class Chart(TypedDict):
    """What a template needs to draw."""

    bars: list[Bar]
    line: str
    """Points of the waiting jobs' line, for a polyline."""
    most: int
    """Jobs in the highest column."""
    most_waiting: int


def chart(points: list[Minute], slots: int) -> Chart:
    """Place ``points`` in ``slots`` columns, the newest at the right end."""
    most = max([point["complete"] + point["failed"] for point in points], default=0)
    most_waiting = max([point["waiting"] for point in points], default=0)
    step = WIDTH / slots
    bars: list[Bar] = []
    line = []
    for place, point in enumerate(points, start=slots - len(points)):
        complete = point["complete"] * HEIGHT / max(1, most)
        failed = point["failed"] * HEIGHT / max(1, most)
        bars.append(
            {
                "x": round(place * step + step * 0.15, 2),
                "width": round(step * 0.7, 2),
                "complete_y": round(HEIGHT - complete, 2),
                "complete_height": round(complete, 2),
                "failed_y": round(HEIGHT - complete - failed, 2),
                "failed_height": round(failed, 2),
            }
        )
        height = HEIGHT - point["waiting"] * (HEIGHT - 2) / max(1, most_waiting)
        line.append(f"{place * step + step / 2:.1f},{height - 1:.1f}")
    return {"bars": bars, "line": " ".join(line), "most": most, "most_waiting": most_waiting}
