"""Reading a queue: jobs, ranges, counts, types, logs. Nothing here changes a job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Generic, TypedDict

from ..base_job import BaseJob, J, JobOwner
from ..errors import InvalidJob
from ..search import Group, node_query, query
from ..states import ACTIVE, COMPLETE, DELAYED, FAILED, INACTIVE, STATES, WAIT_UNTIL_MS, check_state
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
from ..storage.worker_records import WorkerInfo, read_workers
from . import memory_usage
from .flow_tree import FlowNode, read_tree
from .history import History
from .memory_usage import MemoryInfo

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


class LeaseInfo(TypedDict):
    """The leases of a queue."""

    held: int
    late_ms: int
    """Time since the first of them expired, ms. More than a few seconds means that no worker rescues jobs."""


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
    """The read operations of a Queue. ``owner``: the JobOwner of the returned jobs."""

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
        return self._range(self._set(state, job_type), start, stop, order)

    def count_of(self, state: str | None = None, job_type: str | None = None) -> int:
        """Count the jobs in a state (any name; None: in all states), of one type or of all."""
        if state is not None:
            return self._cards([self._set(state, job_type)])[0]
        return self._cards([self._keys.jobs])[0] if job_type is None else sum(self.counts(job_type).values())

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

    def types(self) -> list[str]:
        """Return all types ever saved, sorted."""
        return sorted(self._session.read_one("SMEMBERS", self._keys.types, default=[]))

    def ids(self, state: str, job_type: str | None = None) -> list[int | str]:
        """Return the ids of the jobs in a state, in the order of its set."""
        key = self._set(check_state(state), check_type_or_all(job_type))
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

    def card(self, state: str, job_type: str | None = None) -> int:
        """Count the jobs in a state, of one type or of all. Node Kue: Queue#card, Queue#cardByType."""
        return self.counts(job_type)[check_state(state)]

    def counts(self, job_type: str | None = None) -> dict[str, int]:
        """Count the jobs in each state, atomically."""
        check_type_or_all(job_type)
        return dict(zip(STATES, self._cards([self._set(state, job_type) for state in STATES]), strict=True))

    def counts_by_type(self) -> dict[str, dict[str, int]]:
        """Count the jobs of every known type in each state."""
        types = self.types()
        cards = self._cards([self._keys.type_state(name, state) for name in types for state in STATES])
        return {
            name: dict(zip(STATES, cards[at * len(STATES) :], strict=False)) for at, name in enumerate(types)
        }  # fmt: skip

    def inactive_count(self, job_type: str | None = None) -> int:
        return self.card(INACTIVE, job_type)

    def active_count(self, job_type: str | None = None) -> int:
        return self.card(ACTIVE, job_type)

    def complete_count(self, job_type: str | None = None) -> int:
        return self.card(COMPLETE, job_type)

    def failed_count(self, job_type: str | None = None) -> int:
        return self.card(FAILED, job_type)

    def delayed_count(self, job_type: str | None = None) -> int:
        return self.card(DELAYED, job_type)

    def work_time(self) -> int:
        """Return the total run time of completed jobs, ms."""
        return number(self._session.read_one("GET", self._keys.work_time, default=None)) or 0

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
        key = self._set(check_state(state), check_type_or_all(job_type))
        rank = self._session.read_one("ZRANK", key, zid(job_id), default=None)
        return None if rank is None else int(rank)

    def place(self, job: BaseJob) -> tuple[int | None, int | str | None]:
        """Return the same as ``rank``, and the id of the job right before it; None if there is none."""
        rank = self.rank(job)
        key = self._keys.type_state(job.type, INACTIVE)
        before = self._session.read_one("ZRANGE", key, rank - 1, rank - 1, default=[]) if rank else []
        return rank, id_of(before[0]) if before else None

    def setting(self, name: str) -> str | None:
        """Return a value of the hash ``q:settings``, which Node Kue only reads. Node Kue: Queue#setting."""
        return self.settings(name)[0]

    def settings(self, *names: str) -> list[str | None]:
        """Return several values of ``q:settings`` in one round trip; None for missing ones."""
        for name in names:
            check_string("the name of a setting", name, "some.setting")
        if not names:
            return []
        return list(self._session.read_one("HMGET", self._keys.settings, *names, default=[None] * len(names)))

    def paused(self) -> list[str]:
        """Return the types paused for all workers, sorted."""
        return sorted(self._session.read_one("SMEMBERS", self._keys.paused, default=[]))

    def workers(self) -> list[WorkerInfo]:
        """Return the worker processes, sorted by name, as of their last heartbeat (three per lease)."""
        return read_workers(self._session.read_one("HGETALL", self._keys.workers, default={}))

    @property
    def history(self) -> History:
        """Statistics of the last hour and the last day, as recorded by web processes."""
        session = self._session
        return History(session.call, lambda key: session.read_one("HGETALL", key, default={}), session.scripts)

    def server_ms(self) -> int:
        """Return the Redis server's time, epoch ms. All times in Redis use this clock."""
        seconds, micros = self._session.call(lambda client: client.execute_command("TIME"))
        return int(seconds) * 1000 + int(micros) // 1000

    def waiting_parents(self) -> int:
        """Return the number of jobs waiting for children."""
        counted = ("ZCOUNT", self._keys.state(DELAYED), WAIT_UNTIL_MS, WAIT_UNTIL_MS)
        return int(self._session.read_one(*counted, default=0) or 0)

    def leases(self) -> LeaseInfo:
        """Return the number of leases of running jobs, and how long ago the first of them expired."""

        key = self._keys.leases
        held, first = self._session.read_each([("ZCARD", key), ("ZRANGE", key, 0, 0, "WITHSCORES")], None)
        until = number(first[1]) if first else None
        late_ms = 0 if until is None else max(0, self.server_ms() - until)
        return {"held": int(held or 0), "late_ms": late_ms}

    def memory(self) -> MemoryInfo:
        """Return the server's memory usage and this queue's share, estimated from a sample in bounded time."""
        return self._session.call(lambda client: memory_usage.read(client, self._keys))  # type: ignore[no-any-return]

    def first_ids(self, state: str, job_type: str | None, number: int) -> list[int | str]:
        """Return the ids of the first jobs of ``inactive`` or ``delayed``, in the order in which they will run."""
        check_state(state)
        check_type_or_all(job_type)
        check_count("number", number)
        if state == INACTIVE or job_type is None:
            key = self._set(state, job_type)
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
            keys = [self._set(check_state(state), job_type)]
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

    def _set(self, state: str, job_type: str | None) -> str:
        """Return the key of a state's set. Any names will do: Node's API answers an unknown one with no jobs."""
        check_string("state", state, "failed")
        if job_type is not None:
            check_string("a job's type", job_type, "email")
        return self._keys.state(state) if job_type is None else self._keys.type_state(job_type, state)

    def _cards(self, keys: list[str]) -> list[int]:
        return [int(each) for each in self._session.read_each([("ZCARD", key) for key in keys], 0)]

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
