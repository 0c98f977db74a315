"""A job's flow as a tree: the jobs that it waits for, and what these wait for, as much as can be looked at."""

from __future__ import annotations

from itertools import islice
from typing import Any, NamedTuple

from ..job import Job

#: How deep a tree is read, how many children of a job, and how many jobs in all.
DEPTH, CHILDREN, JOBS = 4, 12, 100


class FlowNode(NamedTuple):
    """A job and its children. ``more``: how many further children it has."""

    job: Job
    children: list[FlowNode]
    more: int = 0


def read_tree(job: Any, *, depth: int = DEPTH, children: int = CHILDREN, jobs: int = JOBS) -> FlowNode:
    """Read the tree below a job: at most ``jobs`` of it in all, the levels nearest to it first."""
    root = FlowNode(job, [])
    level, left = [root], jobs - 1
    for _ in range(depth):
        following: list[FlowNode] = []
        for node in level:
            if node.job.children_total and left > 0:
                read: Any = Job.children  # also for a job of kue.aio, whose own has to be awaited
                found = [FlowNode(child, []) for child in islice(read(node.job), min(children, left))]
                node.children.extend(found)
                left -= len(found)
                following += found
        level = following
    return _with_rest(root)


def _with_rest(node: FlowNode) -> FlowNode:
    rest = max(0, node.job.children_total - len(node.children))
    return FlowNode(node.job, [_with_rest(child) for child in node.children], rest)
