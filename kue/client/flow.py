"""Flows: jobs that wait for others, put together for one call that creates all of them or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple

from ..base_job import BaseJob, J
from ..errors import InvalidJob
from ..storage.script_values import Claim

#: Jobs that one call creates at most: Redis takes about a million arguments, and does nothing else for a second or two.
JOBS_MAX = 110_000


class Batch(NamedTuple, Generic[J]):
    """What ``Queue.batch`` saved."""

    jobs: list[J]
    then: J | None
    always: J | None


class Flow(NamedTuple, Generic[J]):
    """New jobs, and which of them are children of which: for each its parents' numbers.

    ``old``: jobs that are saved already and become children too. ``RUNNING`` stands for the running job. ``claims``:
    by number, those of unique jobs. ``twins``: jobs with the claim of another one of the flow, and that one's number.
    """

    jobs: list[J]
    parents: list[list[str]]
    old: list[tuple[J, list[str]]]
    claims: dict[int, Claim]
    twins: list[tuple[J, int]]


#: Children that are read at a time.
CHILDREN_A_PAGE = 500
#: What the score of a child says besides its number: see ``include/flows/parents.lua``.
_BANDS = (("complete", 0), ("failed", 2**41), ("removed", 2**42))

#: Stands for the number of a running job to which children are added.
RUNNING = "r"


def gather(roots: Iterable[J], *, of_running: bool = False) -> Flow[J]:
    """Return the flow of some new jobs and of all that they wait for. Raises InvalidJob if it is no flow.

    ``of_running``: the roots become children of the running job.
    """
    jobs: list[J] = []
    numbers: dict[int, int] = {}  # by id() of the job, which the list keeps alive
    parents: dict[int, list[str]] = {}
    old: dict[int, J] = {}
    claims: dict[int, Claim] = {}
    claimed: dict[tuple[str, str], int] = {}
    twins: list[tuple[J, int]] = []

    def add(job: J, parent: str | None) -> bool:
        """Note a job and its parent; return whether it is new and was not seen before."""
        if job.id is None and job.options.unique is not None and id(job) not in numbers:
            claim = _claim(job)
            first = claimed.setdefault((job.type, claim.text), len(jobs))
            if first < len(jobs):
                if claim.on_duplicate == "reject":
                    raise InvalidJob(f"{job!r} is in the flow twice, by its unique key")
                twins.append((job, first))
                numbers[id(job)] = first
                parents[id(job)] = parents[id(jobs[first])]
            else:
                claims[first] = claim
        mine = parents.setdefault(id(job), [])
        if parent is not None and parent not in mine:
            mine.append(parent)
        if job.id is not None:
            old[id(job)] = job
            return False
        if id(job) in numbers:
            return False
        numbers[id(job)] = len(jobs)
        jobs.append(job)
        return True

    waiting = [job for job in roots if add(job, RUNNING if of_running else None)]
    while waiting:
        job = waiting.pop(0)
        for child in job._children:
            if child._owner is not job._owner:
                raise InvalidJob(f"{job!r} waits for {child!r} of another queue; a flow is of one queue")
            if add(child, str(numbers[id(job)])):
                waiting.append(child)
    if len(jobs) > JOBS_MAX:
        raise InvalidJob(
            f"a flow has at most {JOBS_MAX:,} jobs; let a handler add more with job.add_children(), some at a time"
        )
    _refuse_cycles(jobs, {id(twin): jobs[first] for twin, first in twins})
    children = [(job, parents[key]) for key, job in old.items() if parents[key]]
    return Flow(jobs, [parents[id(job)] for job in jobs], children, claims, twins)


def arguments(flow: Flow[Any], rows: Sequence[Sequence[str]]) -> list[object]:
    """Return what ``create_flow.lua`` takes after the 8 values of each job; ``rows`` have a ninth for the search."""
    searches = any(len(row) > 8 for row in rows)
    values: list[object] = [int(searches), *(",".join(numbers) for numbers in flow.parents)]
    if searches:
        values += [row[8] if len(row) > 8 else "" for row in rows]
    waiting = [(number, job) for number, job in enumerate(flow.jobs) if job._children]
    values.append(len(waiting))
    for number, job in waiting:
        values += (number, job._on_child_failure)
    values.append(len(flow.old))
    for job, numbers in flow.old:
        values += (job.id, ",".join(numbers))
    return values


def read_children(client: Any, key: str, after: int, last: int) -> list[tuple[int | str, str]]:
    """Return the children with the numbers ``after`` + 1 to ``last``, each once, with what became of them."""
    pipe = client.pipeline(transaction=False)
    pipe.zrangebyscore(key, -last, -after - 1, withscores=True)
    for _, start in _BANDS:
        pipe.zrangebyscore(key, start + after + 1, start + last, withscores=True)
    found: dict[int, tuple[str, str]] = {}  # a child may end between the commands: the pending ones are read first
    for (state, start), members in zip((("pending", 0), *_BANDS), pipe.execute(), strict=True):
        found.update({abs(int(score)) - start: (str(child), state) for child, score in members})
    return [(_id(child), state) for _, (child, state) in sorted(found.items())]


def read_foremost_children(client: Any, key: str, count: int) -> list[int | str]:
    """Return ``count`` children that were not removed: failed ones first, then pending, then complete ones."""
    pipe = client.pipeline(transaction=False)
    failed_from, removed_from = _BANDS[1][1], _BANDS[2][1]
    pipe.zrevrangebyscore(key, "(0", "-inf", start=0, num=count)  # first: a child may end between the commands
    pipe.zrangebyscore(key, failed_from, f"({removed_from}", start=0, num=count)
    pipe.zrangebyscore(key, 1, f"({failed_from}", start=0, num=count)
    pending, failed, complete = pipe.execute()
    return [_id(child) for child in list(dict.fromkeys([*failed, *pending, *complete]))[:count]]


def _id(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _claim(job: BaseJob) -> Claim:
    assert job.options.unique is not None
    claim = job.options.unique.claim(job.data)
    if claim.on_duplicate not in ("return", "reject"):
        raise InvalidJob(f"{job!r}: in a flow on_duplicate is return or reject, not {claim.on_duplicate}")
    return claim


def _refuse_cycles(jobs: Sequence[BaseJob], twins: Mapping[int, BaseJob]) -> None:
    """Raise InvalidJob if a job waits for itself, by whatever way. ``twins``: what stands for a job, by its id()."""
    state: dict[int, bool] = {}  # False: under way, True: done
    for root in jobs:
        path = [(root, iter(root._children))]
        if id(root) in state:
            continue
        state[id(root)] = False
        while path:
            job, rest = path[-1]
            child = next(rest, None)
            child = twins.get(id(child), child)
            if child is None:
                state[id(job)] = True
                path.pop()
            elif child.id is None and id(child) not in state:
                state[id(child)] = False
                path.append((child, iter(child._children)))
            elif state.get(id(child)) is False:
                raise InvalidJob(f"{child!r} waits for itself: the jobs of a flow must not form a cycle")
