"""A job's flow as a tree: the jobs that it waits for, and what these wait for, as much as can be looked at."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from ..job import Job

#: How deep a tree is read, how many children of a job, and how many jobs in all.
DEPTH, CHILDREN, JOBS = 4, 12, 100


class FlowNode(NamedTuple):
    """A job and its children. ``more``: how many further children it has."""

    job: Job
    children: list[FlowNode]
    more: int = 0


def read_tree(job: Any, *, depth: int = DEPTH, children: int = CHILDREN, jobs: int = JOBS) -> FlowNode:
    """Read the tree below a job: at most ``jobs`` of it in all, the levels nearest to it first.

    Of more children than there is room for, failed ones are read first, then pending ones.
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
    # The methods of Job: a job of kue.aio has its own, which must be awaited.
    all_of, foremost_of = cast(Any, Job.children), cast(Any, Job._foremost_children)
    return list(all_of(job)) if job.children_total <= most else foremost_of(job, most)


def _with_rest(node: FlowNode) -> FlowNode:
    rest = max(0, node.job.children_total - len(node.children))
    return FlowNode(node.job, [_with_rest(child) for child in node.children], rest)
