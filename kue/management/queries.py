"""Reading a queue's jobs: one, ranges, searches, logs. Nothing here changes a job. Counts are in statistics.py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Generic, TypedDict

from ..base_job import BaseJob, J, JobOwner
from ..errors import InvalidJob
from ..search import Group, node_query, query
from ..states import ACTIVE, COMPLETE, DELAYED, FAILED, INACTIVE, STATES, check_state
from ..storage.arguments import (
    check_count,
    check_list,
    check_rank,
    check_string,
    check_type,
    check_type_or_all,
)
from ..storage.codec import number
from ..storage.keys import check_id, id_of, zid
from ..storage.session import Session
from .flow_tree import FlowNode, read_tree

#: Maximum amount of text read per script call of a scan: a few ms of the server's time.
LOOK_BYTES = 2_000_000
#: Default maximum number of search results.
SEARCH_MAX = 10_000
#: Maximum number of priorities read for the newest jobs; jobs of further priorities are omitted.
PRIORITIES_MAX = 64
#: Characters of an error's first line that are compared.
ERROR_TEXT = 300
#: Parts that may differ between otherwise equal errors: ids, ports, sizes, addresses.
_NUMBERS = re.compile(r"0x[0-9a-f]+|[0-9]+(?:[.,:-][0-9]+)*", re.IGNORECASE)


class ErrorCount(TypedDict):
    """An error and how many recent jobs failed with it."""

    type: str
    error: str
    """First line of the newest one."""
    count: int
    id: int | str
    """The newest job."""
    at: int | None
    """When the latest of them failed, epoch ms."""


class Queries(Generic[J]):
    """Reads jobs and their ids. ``owner``: the JobOwner of the returned jobs."""

    def __init__(self, session: Session, owner: JobOwner[J]) -> None:
        self._session, self._owner = session, owner
        self._keys = session.keys

    def get(self, job_id: int | str) -> J:
        """Read a job. Raises JobNotFound."""
        return self._owner.job_class.from_hash(self._owner, job_id, self._owner.read(job_id))

    def get_many(self, job_ids: Sequence[int | str]) -> list[J]:
        """Read jobs in one round trip. Missing ones are omitted."""
        job_ids = _checked_ids(job_ids)
        if not job_ids:
            return []
        found = self._session.read_each([("HGETALL", self._keys.job(job_id)) for job_id in job_ids], {})
        jobs = zip(job_ids, found, strict=True)
        return [self._owner.job_class.from_hash(self._owner, job_id, raw) for job_id, raw in jobs if "type" in raw]

    def fields(self, job_ids: Sequence[int | str], names: Sequence[str]) -> list[list[str | None]]:
        """Read some fields of jobs as stored, in one round trip; all None for a missing job."""
        names = [check_string("the name of a field", name, "state") for name in check_list("names", names, '["state"]')]
        nothing: list[str | None] = [None] * len(names)
        keys = [self._keys.job(job_id) for job_id in _checked_ids(job_ids)]
        if not names:
            return [[] for _ in keys]
        return self._session.read_each([("HMGET", key, *names) for key in keys], nothing)

    def range(self, start: int, stop: int, order: str = "asc") -> list[J]:
        """Read the jobs ranked ``start`` to ``stop`` (from 0, both inclusive, -1: the last) by priority, then id.

        As in Node, ``order`` ("asc" or "desc") reverses the page, not which jobs are on it. Node Kue: Job.range.
        """
        return self._range(self._keys.jobs, start, stop, order)

    def range_by_state(self, state: str, start: int, stop: int, order: str = "asc") -> list[J]:
        """Read jobs of one state, like ``range``; delayed ones are ranked by due time. Node Kue: Job.rangeByState."""
        return self._range(self._keys.state(check_state(state)), start, stop, order)

    def range_by_type(self, job_type: str, state: str, start: int, stop: int, order: str = "asc") -> list[J]:
        """Read jobs of one type and state, like ``range``. Node Kue: Job.rangeByType."""
        return self._range(self._keys.type_state(check_type(job_type), check_state(state)), start, stop, order)

    def range_of(self, state: str, job_type: str | None, start: int, stop: int, order: str = "asc") -> list[J]:
        """Read jobs like ``range_by_state`` or ``range_by_type``, but accept any state name, as Node's API does."""
        check_string("state", state, "failed")
        if job_type is not None:
            check_string("a job's type", job_type, "email")
        return self._range(self._keys.in_state(state, job_type), start, stop, order)

    def tree(self, job_id: int | str) -> FlowNode:
        """Return a job with the jobs that it waits for, and those that these wait for: at most 100 jobs, 4 levels deep.

        Raises JobNotFound.
        """
        return read_tree(self.get(job_id))

    def search(self, text: str, limit: int = SEARCH_MAX) -> list[int | str]:
        """Return the ids of the jobs that contain all words of ``text``, best first, at most ``limit``.

        Finds jobs saved by queues with ``search=True`` or by Node Kue with search enabled; this queue's own setting
        does not matter. English words match by stem and sound, as in Node ("welcomes" finds "Welcome"); words with
        other letters match exactly or without accents ("gioi" finds "giới").
        """
        check_string("text", text, "welcome mail")
        check_count("limit", limit)
        found = self._found(query(text), limit)
        if not found and not text.isascii():  # Node indexes only the ASCII parts of words
            found = self._found(node_query(text), limit, of_node=True)
        return found

    def log(self, job_id: int | str, start: int = 0) -> list[str]:
        """Return a job's log, starting at line ``start`` (from 0), oldest first. Node Kue: Job.log."""
        check_id(job_id)
        check_rank("start", start)
        return list(self._session.read_one("LRANGE", self._keys.log(job_id), start, -1, default=[]))

    def ids(self, state: str, job_type: str | None = None) -> list[int | str]:
        """Return the ids of the jobs in a state, in the order of its set."""
        key = self._keys.in_state(check_state(state), check_type_or_all(job_type))
        return [id_of(member) for member in self._session.read_one("ZRANGE", key, 0, -1, default=[])]

    def active(self) -> list[int | str]:
        """Return the ids of the active jobs. Node Kue: Queue#active."""
        return self.ids(ACTIVE)

    def inactive(self) -> list[int | str]:
        return self.ids(INACTIVE)

    def complete(self) -> list[int | str]:
        return self.ids(COMPLETE)

    def failed(self) -> list[int | str]:
        return self.ids(FAILED)

    def delayed(self) -> list[int | str]:
        return self.ids(DELAYED)

    def rank(self, job: BaseJob) -> int | None:
        """Return how many jobs of its type are ahead of a waiting job; None if it is not waiting."""
        if not isinstance(job, BaseJob):
            raise InvalidJob(f"rank takes a job such as queue.get(1), not {job!r}")
        if job.id is None:
            return None
        key = self._keys.type_state(job.type, INACTIVE)
        rank = self._session.read_one("ZRANK", key, zid(job.id), default=None)
        return None if rank is None else int(rank)

    def rank_in(self, job_id: int | str, state: str, job_type: str | None = None) -> int | None:
        """Return a job's rank among those of a state (and type), from 0; None if it is not among them."""
        check_id(job_id)
        key = self._keys.in_state(check_state(state), check_type_or_all(job_type))
        rank = self._session.read_one("ZRANK", key, zid(job_id), default=None)
        return None if rank is None else int(rank)

    def place(self, job: BaseJob) -> tuple[int | None, int | str | None]:
        """Return the same as ``rank``, and the id of the job right before it; None if there is none."""
        rank = self.rank(job)
        key = self._keys.type_state(job.type, INACTIVE)
        before = self._session.read_one("ZRANGE", key, rank - 1, rank - 1, default=[]) if rank else []
        return rank, id_of(before[0]) if before else None

    def first_ids(self, state: str, job_type: str | None, number: int) -> list[int | str]:
        """Return the ids of the first jobs of ``inactive`` or ``delayed``, in the order in which they will run."""
        check_state(state)
        check_type_or_all(job_type)
        check_count("number", number)
        if state == INACTIVE or job_type is None:
            key = self._keys.in_state(state, job_type)
            return [id_of(member) for member in self._session.read_one("ZRANGE", key, 0, number - 1, default=[])]
        # A type's delayed jobs are sorted by priority; only the set of all types is sorted by time.
        jobs = [job for job in self.get_many(self.ids(state, job_type)) if job.id is not None]
        jobs.sort(key=lambda job: job.promote_at or 0)
        return [job.id for job in jobs[:number] if job.id is not None]

    def newest_ids(self, state: str | None, job_type: str | None, number: int) -> list[int | str]:
        """Return the highest ids of a state (None: all), highest first.

        The sets are sorted by priority, then id, so the end of each priority is read.
        """
        check_count("number", number)
        check_type_or_all(job_type)
        if state is not None:
            keys = [self._keys.in_state(check_state(state), job_type)]
        elif job_type is None:
            keys = [self._keys.jobs]
        else:
            keys = [self._keys.type_state(job_type, each) for each in STATES]
        found = {each for key in keys for each in self._ends(key, number)}
        return sorted(found, key=lambda each: each if isinstance(each, int) else 0, reverse=True)[:number]

    def oldest_waiting(self) -> J | None:
        """Return the waiting job that was created first, None if no job waits.

        The set is sorted by priority, then id, so the first job of each priority is read, for at most PRIORITIES_MAX
        priorities.
        """
        key = self._keys.state(INACTIVE)
        firsts: list[int | str] = []
        above = "-inf"
        for _ in range(PRIORITIES_MAX):
            found = self._session.read_one("ZRANGEBYSCORE", key, above, "+inf", "WITHSCORES", "LIMIT", 0, 1, default=[])
            if not found:
                break
            firsts.append(id_of(found[0]))
            above = f"({found[1]}"
        jobs = [job for job in self.get_many(firsts) if job.created_at]
        return min(jobs, key=lambda job: (job.created_at or 0, zid(job.id)), default=None)

    def recent_errors(self, newest: int = 200) -> list[ErrorCount]:
        """Return the errors of the ``newest`` failed jobs, most frequent first; numbers in them are ignored."""
        ids = self.newest_ids(FAILED, None, newest)
        groups: dict[tuple[str, str], ErrorCount] = {}
        for job_id, (job_type, error, at) in zip(ids, self.fields(ids, ("type", "error", "failed_at")), strict=True):
            if job_type is None:
                continue
            text = (error or "").strip().partition("\n")[0][:ERROR_TEXT]
            group = groups.setdefault(
                (job_type, _NUMBERS.sub("#", text)),
                {"type": job_type, "error": text, "count": 0, "id": job_id, "at": None},
            )
            group["count"] += 1
            group["at"] = max(group["at"] or 0, number(at) or 0) or None
        return sorted(groups.values(), key=lambda group: -group["count"])

    def look_through(self, words: Sequence[str], start: int, count: int, most: int) -> tuple[list[int | str], int]:
        """Scan ``count`` jobs from rank ``start``, counted from the end of the queue's order, for all of ``words``.

        Returns the ids found, at most ``most``, and the number of jobs scanned: fewer if they are large. Matches id,
        type, data and error as stored, ignoring case.
        """
        words = [check_string("a word", word, "mail") for word in check_list("words", words, '["mail"]')]
        check_rank("start", start)
        check_count("most", most)
        asked: list[object] = [start, start + check_count("count", count) - 1, most, LOOK_BYTES, len(words)]
        for word in words:
            # The server lowercases only A to Z, so words with other letters are sent in all their cases.
            forms = {f(word) for f in (str, str.lower, str.upper, str.title, str.capitalize, str.casefold)}
            spellings = sorted({_ascii_lower(form) for form in forms})
            asked += [len(spellings), *spellings]
        answer = self._session.call(lambda client: self._session.scripts.run(client, "scan", *asked))
        return [int(each) if each.isdecimal() else each for each in answer[1:]], int(answer[0])

    def _found(self, groups: list[Group], limit: int, of_node: bool = False) -> list[int | str]:
        if not groups:
            return []
        ids = self._session.call(lambda client: self._session.scripts.search(client, groups, limit, of_node=of_node))
        return [id_of(f"|{job_id}") for job_id in ids]

    def _ends(self, key: str, number: int) -> list[int | str]:
        found: list[int | str] = []
        below = "+inf"
        for _ in range(PRIORITIES_MAX):
            read = self._session.read_one
            last = read("ZREVRANGEBYSCORE", key, below, "-inf", "WITHSCORES", "LIMIT", 0, 1, default=[])
            if not last:
                break
            score = last[1]
            members = read("ZREVRANGEBYSCORE", key, score, score, "LIMIT", 0, number, default=[])
            found += [id_of(member) for member in members]
            below = f"({score}"
        return found

    def _range(self, key: str, start: int, stop: int, order: str) -> list[J]:
        if order not in ("asc", "desc"):
            raise InvalidJob(f'order must be "asc" or "desc", not {order!r}')
        check_rank("start", start)
        check_rank("stop", stop)
        found = [id_of(member) for member in self._session.read_one("ZRANGE", key, start, stop, default=[])]
        found.sort(key=lambda each: (isinstance(each, str), each), reverse=order == "desc")
        return self.get_many(found)


def _checked_ids(job_ids: Any) -> list[int | str]:
    found = check_list("job_ids", job_ids, "[1, 2]")
    for each in found:
        check_id(each)
    return found


def _ascii_lower(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
