"""A queue as a whole: how many jobs, which types and workers, settings, leases, memory. Nothing here changes it."""

from __future__ import annotations

from typing import TypedDict

from ..states import ACTIVE, COMPLETE, DELAYED, FAILED, INACTIVE, STATES, WAIT_UNTIL_MS, check_state
from ..storage.arguments import check_string, check_type_or_all
from ..storage.codec import number
from ..storage.epoch_time import server_ms
from ..storage.session import Session
from ..storage.worker_records import WorkerInfo, read_workers
from . import memory_usage
from .history import History
from .memory_usage import MemoryInfo


class LeaseInfo(TypedDict):
    """The leases of a queue."""

    held: int
    late_ms: int
    """Time since the first of them expired, ms. More than a few seconds means that no worker rescues jobs."""


class Statistics:
    """Counts jobs, and reads what concerns the queue as a whole."""

    def __init__(self, session: Session) -> None:
        self._session, self._keys = session, session.keys

    def types(self) -> list[str]:
        """Return all types ever saved, sorted."""
        return sorted(self._session.read_one("SMEMBERS", self._keys.types, default=[]))

    def count_of(self, state: str | None = None, job_type: str | None = None) -> int:
        """Count the jobs in a state (any name; None: in all states), of one type or of all."""
        if state is not None:
            check_string("state", state, "failed")
            if job_type is not None:
                check_string("a job's type", job_type, "email")
            return self._cards([self._keys.in_state(state, job_type)])[0]
        return self._cards([self._keys.jobs])[0] if job_type is None else sum(self.counts(job_type).values())

    def card(self, state: str, job_type: str | None = None) -> int:
        """Count the jobs in a state, of one type or of all. Node Kue: Queue#card, Queue#cardByType."""
        return self.counts(job_type)[check_state(state)]

    def counts(self, job_type: str | None = None) -> dict[str, int]:
        """Count the jobs in each state, atomically."""
        check_type_or_all(job_type)
        return dict(zip(STATES, self._cards([self._keys.in_state(state, job_type) for state in STATES]), strict=True))

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
        return int(self._session.call(server_ms))

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

    def _cards(self, keys: list[str]) -> list[int]:
        return [int(each) for each in self._session.read_each([("ZCARD", key) for key in keys], 0)]
