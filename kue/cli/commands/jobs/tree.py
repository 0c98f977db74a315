"""``kue tree``: a job and the jobs that it waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from ....management.flow_tree import FlowNode
from ....queue import Queue
from ...options import ID, json_option, with_queue
from ...output import COLORS, paint, plain, print_json


@click.command(short_help="Show the jobs that a job waits for.")
@click.argument("job_id", metavar="ID", type=ID)
@json_option
@with_queue
def tree(queue: Queue, job_id: int | str, as_json: bool) -> None:
    """Show a job with the jobs that it waits for, and their children, as a tree.

    At most 100 jobs, 4 levels deep. The jobs waiting for this one come first.

    \b
    kue tree 12
    """
    root = queue.tree(job_id)
    if as_json:
        print_json(_form(root))
        return
    if root.job.parents:
        print("required by " + ", ".join(f"job {parent}" for parent in root.job.parents))
    for line in _lines(root, "", ""):
        print(line)


def _form(node: FlowNode) -> dict[str, Any]:
    job = node.job
    return {
        "id": job.id,
        "type": job.type,
        "state": job.state,
        "children_total": job.children_total,
        "children_ended": job.children_ended,
        "children": [_form(child) for child in node.children],
    }


def _lines(node: FlowNode, first: str, rest: str) -> Iterator[str]:
    job = node.job
    ended = f"  {job.children_ended:,} of {job.children_total:,} children" if job.children_total else ""
    yield f"{first}{job.id}  {plain(job.type)}  {paint(str(job.state), COLORS.get(str(job.state)))}{ended}"
    last = len(node.children) - (0 if node.more else 1)
    for at, child in enumerate(node.children):
        yield from _lines(child, rest + ("└─ " if at == last else "├─ "), rest + ("   " if at == last else "│  "))
    if node.more:
        yield f"{rest}└─ … {node.more:,} more"
