"""Which jobs ``ls`` and the commands with filters mean."""

from __future__ import annotations

from ..queue import Queue
from ..states import INACTIVE, STATES
from ..storage.keys import id_of

#: Priorities that are looked through for the newest jobs; those of further ones are left out.
PRIORITIES_MAX = 64


def waiting_ids(queue: Queue, state: str, job_type: str | None, number: int) -> list[int | str]:
    """Return the ids of the first jobs of ``inactive`` or ``delayed``, in the order in which they will run."""
    if state == INACTIVE or job_type is None:
        key = queue._set(state, job_type)
        return [id_of(member) for member in queue._one("ZRANGE", key, 0, number - 1, default=[])]
    # The delayed jobs of one type are kept by priority; only the set of all is in order of time.
    jobs = [job for job in queue.get_many(queue.ids(state, job_type)) if job.id is not None]
    jobs.sort(key=lambda job: job.promote_at or 0)
    return [job.id for job in jobs[:number] if job.id is not None]


def newest_ids(queue: Queue, state: str | None, job_type: str | None, number: int) -> list[int | str]:
    """Return the highest ids of a state (None: all), highest first.

    The sets are in order of priority, and of id within one: so the end of each priority is read.
    """
    if state is not None:
        keys = [queue._set(state, job_type)]
    elif job_type is None:
        keys = [queue.keys.jobs]
    else:
        keys = [queue.keys.type_state(job_type, each) for each in STATES]
    found: set[int | str] = set()
    for key in keys:
        found.update(_ends(queue, key, number))
    return sorted(found, key=lambda each: (isinstance(each, int), each if isinstance(each, int) else 0), reverse=True)[
        :number
    ]


def _ends(queue: Queue, key: str, number: int) -> list[int | str]:
    found: list[int | str] = []
    below = "+inf"
    for _ in range(PRIORITIES_MAX):
        last = queue._one("ZREVRANGEBYSCORE", key, below, "-inf", "WITHSCORES", "LIMIT", 0, 1, default=[])
        if not last:
            break
        score = last[1]
        members = queue._one("ZREVRANGEBYSCORE", key, score, score, "LIMIT", 0, number, default=[])
        found += [id_of(member) for member in members]
        below = f"({score}"
    return found
