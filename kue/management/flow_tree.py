"""A job's flow as a tree: the jobs that it waits for, and those that these wait for, within limits."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from ..job import Job

#: Limits of a tree: depth, children per job, and total number of jobs.
DEPTH, CHILDREN, JOBS = 4, 12, 100


class FlowNode(NamedTuple):
    """A job and its children. ``more``: the number of children not listed."""

    job: Job
    children: list[FlowNode]
    more: int = 0


def read_tree(job: Any, *, depth: int = DEPTH, children: int = CHILDREN, jobs: int = JOBS) -> FlowNode:
    """Read the tree below a job: at most ``jobs`` jobs in total, nearest levels first.

    If not all children fit, failed ones come first, then pending ones.
    """
    root = FlowNode(job, [])
    level, left = [root], jobs - 1
    for _ in range(depth):
        following: list[FlowNode] = []
        for node in level:
            if node.job.children_total and left > 0:
                found = [FlowNode(child, []) for child in _children(node.job, min(children, left))]
                node.children.extend(found)
                left -= len(found)
                following += found
        level = following
    return _with_rest(root)


def _children(job: Any, most: int) -> list[Any]:
    # Job's methods: those of a kue.aio job would have to be awaited.
    all_of, foremost_of = cast(Any, Job.children), cast(Any, Job._foremost_children)
    return list(all_of(job)) if job.children_total <= most else foremost_of(job, most)


def _with_rest(node: FlowNode) -> FlowNode:
    rest = max(0, node.job.children_total - len(node.children))
    return FlowNode(node.job, [_with_rest(child) for child in node.children], rest)
