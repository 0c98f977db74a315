"""A job's flow for its page: as a nested list and as a drawing."""

from __future__ import annotations

from typing import TypedDict

from kue.management.flow_tree import FlowNode
from kue.web.present.job_row import STATE_LABELS, JobId, job_title

#: Sizes in the drawing, pixels.
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, MARGIN = 170, 44, 46, 12, 6
#: Maximum characters of a title in a box.
TITLE_CHARS = 22


class FlowItem(TypedDict):
    """One job of the list."""

    id: JobId
    title: str
    state: str
    label: str
    children: list[FlowItem]
    ended: int
    total: int
    more: int


class FlowBox(TypedDict):
    """One box of the drawing; ``more`` stands for that many further children."""

    x: int
    y: int
    id: JobId | None
    text: str
    state: str
    label: str


class FlowLine(TypedDict):
    """From a job to one of its children: an SVG path."""

    path: str


class FlowView(TypedDict):
    """The whole flow; ``parents`` are the jobs that wait for this one."""

    root: FlowItem
    parents: list[JobId]
    boxes: list[FlowBox]
    lines: list[FlowLine]
    width: int
    height: int


def flow_view(root: FlowNode) -> FlowView:
    """Lay out a tree from left to right, with parents centered on their children."""
    boxes: list[FlowBox] = []
    lines: list[FlowLine] = []
    depth, bottom = _place(root, 0, MARGIN, boxes, lines)
    return {
        "root": _item(root),
        "parents": root.job.parents,
        "boxes": boxes,
        "lines": lines,
        "width": 2 * MARGIN + depth * BOX_WIDTH + (depth - 1) * GAP_X,
        "height": bottom - GAP_Y + MARGIN,
    }


def _item(node: FlowNode) -> FlowItem:
    job = node.job
    state = str(job.state)
    return {
        "id": job.id or 0,
        "title": job_title(job),
        "state": state,
        "label": STATE_LABELS.get(state, state),
        "children": [_item(child) for child in node.children],
        "ended": job.children_ended,
        "total": job.children_total,
        "more": node.more,
    }


def _place(
    node: FlowNode, level: int, top: int, boxes: list[FlowBox], lines: list[FlowLine]
) -> tuple[int, int]:
    """Place a job and its descendants; return the number of levels, and where the next one may begin."""
    x, at = MARGIN + level * (BOX_WIDTH + GAP_X), len(boxes)
    state = str(node.job.state)
    boxes.append({
        "x": x, "y": top, "id": node.job.id, "text": _short(job_title(node.job)), "state": state,
        "label": STATE_LABELS.get(state, state),
    })  # fmt: skip
    depth, bottom, ends = level + 1, top, []
    for child in node.children:
        ends.append(len(boxes))
        deeper, bottom = _place(child, level + 1, bottom, boxes, lines)
        depth = max(depth, deeper)
    if node.more:
        ends.append(len(boxes))
        more = f"{node.more:,} more"
        boxes.append({"x": x + BOX_WIDTH + GAP_X, "y": bottom, "id": None, "text": more, "state": "", "label": ""})
        depth, bottom = max(depth, level + 2), bottom + BOX_HEIGHT + GAP_Y
    if ends:
        boxes[at]["y"] = (boxes[ends[0]]["y"] + boxes[ends[-1]]["y"]) // 2
        for end in ends:
            lines.append({"path": _path(boxes[at], boxes[end])})
    return depth, max(bottom, top + BOX_HEIGHT + GAP_Y)


def _path(parent: FlowBox, child: FlowBox) -> str:
    x1, y1 = parent["x"] + BOX_WIDTH, parent["y"] + BOX_HEIGHT // 2
    x2, y2 = child["x"], child["y"] + BOX_HEIGHT // 2
    middle = (x1 + x2) // 2
    return f"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"


def _short(text: str) -> str:
    return text if len(text) <= TITLE_CHARS else text[: TITLE_CHARS - 1] + "…"
