"""Flows in the chaos run: three levels, of which the upper two wait, with leaves of every type."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import kue
from tests.fault.chaos.check import Execution
from tests.fault.chaos.worker import PARENT_TYPE

#: Children of each parent.
WIDTH = 3


class Flow:
    """New jobs, made by ``make(type)``, and which of them are children of which, by mark."""

    def __init__(self, queue: kue.Queue, make: Callable[..., kue.Job], chance: random.Random) -> None:
        self.children: dict[int, list[int]] = {}
        self._root = make(PARENT_TYPE)
        leaves: list[kue.Job] = []
        for middle in [make(PARENT_TYPE) for _ in range(WIDTH)]:
            below = [make() for _ in range(WIDTH)]
            if leaves and chance.random() < 0.5:
                below.append(chance.choice(leaves))  # awaited by two
            leaves += below
            self._wait(middle, below)
            self._wait(self._root, [middle])
        #: New jobs.
        self.count = 1 + WIDTH + WIDTH**2

    def _wait(self, parent: kue.Job, children: list[kue.Job]) -> None:
        parent.after(children)
        self.children.setdefault(parent.data["mark"], []).extend(child.data["mark"] for child in children)

    def save(self) -> None:
        self._root.save()


def check_flows(
    flows: list[Flow], jobs: Mapping[str, Mapping[str, str]], executions: Mapping[int, list[Execution]],
    counts: Counter[str],
) -> Iterator[str]:  # fmt: skip
    """Yield which parents began before their children had completed. (That each ran once is checked of every job.)"""
    by_mark = {json.loads(job["data"])["mark"]: (job_id, job) for job_id, job in jobs.items()}
    for flow in flows:
        for parent, children in flow.children.items():
            if parent not in by_mark or not executions.get(parent):
                yield f"the parent with mark {parent} was not created, or never ran"
                continue
            counts["parents"] += 1
            job_id, job = by_mark[parent]
            began = min(ran.begin for ran in executions[parent])
            started = min([int(job["started_at"]), *(each["started_at"] for each in _attempts(job))])
            for child in children:
                child_id, done = by_mark[child]
                ended = [ran.end for ran in executions.get(child, []) if ran.end is not None]
                if not any(end <= began for end in ended):
                    yield f"job {job_id} began at {began}, its child {child_id} had not ended: {executions.get(child)}"
                if int(done["started_at"]) + int(done["duration"]) > started:
                    yield f"job {job_id} was started at {started}, before its child {child_id} completed: {done}"


def _attempts(job: Mapping[str, str]) -> list[dict[str, int]]:
    """Return the attempts that did not complete."""
    found: list[dict[str, int]] = json.loads(job.get("attempt_log", "[]"))
    return found
