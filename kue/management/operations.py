"""Operations on a queue's jobs and types: remove, move, cancel, pause, retain."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Generic

from redis.exceptions import ResponseError

from ..base_job import J, JobOwner
from ..connection.failures import unavailable, with_retries
from ..errors import InvalidJob
from ..states import COMPLETE, DELAYED, FAILED, INACTIVE, check_state
from ..storage.arguments import check_string, check_type
from ..storage.codec import check_concurrency, check_priority, number_text
from ..storage.keys import check_id
from ..storage.script_values import RESUMED
from ..storage.session import Session
from .queries import Queries
from .retention import ENDED, Retention, Rule, clean, rule
from .statistics import Statistics

#: Seconds after which a command expires that no process took, because its process has ended.
COMMAND_KEPT_S = 60


class Operations(Generic[J]):
    """What an operator does with a Queue."""

    def __init__(
        self, session: Session, owner: JobOwner[J], queries: Queries[J], statistics: Statistics, retention: Retention
    ) -> None:
        self._session, self._owner, self._queries, self._retention = session, owner, queries, retention
        self._statistics = statistics
        self._keys, self._scripts = session.keys, session.scripts

    def check_health(self) -> None:
        """Write one small key. Raises QueueUnavailable at once if Redis cannot be reached, or refuses writes."""
        try:
            with_retries(lambda: self._session.connector.shared().set(self._keys.health, "1", ex=10), 0)
        except ResponseError as exc:  # a permanent error, such as a missing permission
            raise unavailable(exc) from None

    def remove(self, job_id: int | str, *, children: bool = False) -> None:
        """Remove a job and everything that belongs to it. Raises JobNotFound.

        With ``children``, atomically also the jobs that it waits for, and their children, except any that another job
        waits for too. For a job that waits for a removed one, its ``on_failure`` applies.
        """
        check_id(job_id)
        self._session.call(lambda client: self._scripts.remove(client, job_id, children=bool(children)))

    def set_state(self, job_id: int | str, state: str) -> str:
        """Move a job from any state to another; return its previous state. A worker that holds the job loses it.

        Raises JobNotFound, InvalidJob for an unknown state. Node Kue: PUT /job/:id/state/:state.
        """
        check_id(job_id)
        check_state(state)
        return str(self._session.call(lambda client: self._scripts.move(client, job_id, state)))

    def retry(self, job_id: int | str) -> None:
        """Queue a failed job again. Raises JobNotFound, or WrongState if it has not failed."""
        check_id(job_id)
        self._session.call(lambda client: self._scripts.move(client, job_id, INACTIVE, (FAILED,)))

    def promote(self, job_id: int | str) -> None:
        """Queue a delayed job now. Raises JobNotFound, or WrongState if it is not delayed."""
        check_id(job_id)
        self._session.call(lambda client: self._scripts.move(client, job_id, INACTIVE, (DELAYED,)))

    def cancel(self, job_id: int | str, *, discard: bool = False, children: bool = False) -> str:
        """Fail a job that has not ended, with the error "Cancelled"; return its previous state.

        A running one is stopped: JobCancelled is raised in its handler. With ``discard`` its message is "discarded",
        which asks the handler to keep nothing. Raises JobNotFound, or WrongState if the job has ended.

        With ``children``, atomically also the jobs that it waits for, as in ``remove``; the job itself may have ended.
        """
        check_id(job_id)
        reason = "discarded" if discard else "cancelled"
        return str(
            self._session.call(lambda client: self._scripts.cancel(client, job_id, reason, children=bool(children)))
        )

    def pause_job(self, job_id: int | str) -> str:
        """Suspend a job until ``resume_job``; return its previous state. It is delayed; its attempt is not counted.

        A running job is stopped, in any process: its handler gets JobCancelled with the text "paused". Raises
        JobNotFound, or WrongState if the job has ended.
        """
        check_id(job_id)
        return str(self._session.call(lambda client: self._scripts.suspend(client, job_id)))

    def resume_job(self, job_id: int | str) -> None:
        """Queue a suspended job again. Raises JobNotFound, or WrongState if it is not waiting."""
        self.promote(job_id)

    def set_priority(self, job_id: int | str, priority: str | float) -> J:
        """Change a job's priority and return the job. Raises JobNotFound, InvalidJob."""
        check_id(job_id)
        text = number_text(check_priority(priority))
        found_by = self._owner.found_by(self._queries.get(job_id))
        self._session.call(lambda client: self._scripts.set_priority(client, job_id, text, found_by))
        return self._queries.get(job_id)

    def pause(self, job_type: str) -> None:
        """Pause a type for all workers of this library until ``resume``. Running jobs finish. Kept in Redis."""
        check_type(job_type)
        self._session.call(lambda client: client.sadd(self._keys.paused, job_type))

    def resume(self, job_type: str) -> None:
        """Resume a paused type. Workers are notified; one that misses it notices within a second."""
        check_type(job_type)

        def call(client: Any) -> None:
            client.srem(self._keys.paused, job_type)
            client.publish(self._keys.revoked, RESUMED)

        self._session.call(call)

    def retain(
        self,
        complete: int | None = None,
        failed: int | None = None,
        max_age: int | timedelta | None = None,
        failed_max_age: int | timedelta | None = None,
    ) -> None:
        """Keep at most this many completed and failed jobs (of all types together), and none older than a limit.

        Ages are ms, or a timedelta. None: no limit; ``retain()`` ends retention. ``max_age`` applies to failed jobs,
        too, unless ``failed_max_age`` is given.
        The oldest are removed, with a ``remove`` event each, within a few seconds, by every process that called this
        and has handlers (``process``); never within a second of a job's end. Raises InvalidJob.
        """
        oldest_failed = max_age if failed_max_age is None else failed_max_age
        self._retention.set({COMPLETE: rule(complete, max_age), FAILED: rule(failed, oldest_failed)})

    def retention(self) -> dict[str, Rule]:
        """Return what ``retain`` set in this process, by state, without states that have no limit."""
        return dict(self._retention.rules)

    def clean(self, state: str, *, keep: int | None = None, max_age: int | timedelta | None = None) -> int:
        """Remove the completed or failed jobs beyond ``keep``, or older than ``max_age``, now; return how many.

        Raises InvalidJob for other states.
        """
        if state not in ENDED:
            raise InvalidJob(f"clean takes {' or '.join(ENDED)}, not {state!r}")
        wanted = rule(keep, max_age)
        return int(self._session.call(lambda client: clean(self._scripts, client, state, wanted)))

    def run_as_new(self, job_id: int | str, data: Any = None) -> J:
        """Save a copy of a job in any state, to run now, and return it; ``data`` replaces the original's.

        The copy's hash has the original in ``copy_of``, the original's the copies in ``copies``. Delays are not copied,
        nor backoffs written in JavaScript by a Node producer. The copy of a job that waits, or waited, for others waits
        for the same ones; ended ones count with their current state. Raises JobNotFound, InvalidJob.
        """
        job = self._queries.get(job_id)
        options = job.options
        copy = self._owner.job_class(self._owner, job.type, job.data if data is None else data)
        copy.attempts(options.attempts or 1).priority(options.priority).ttl(options.ttl_ms)
        copy.remove_on_complete(options.remove_on_complete)
        if options.backoff is not None:
            copy.options.backoff = options.backoff  # may be a name that only other processes know
        for page in self._owner.children(job_id):
            ids = [child for child, _ in page]
            found = zip(ids, self._owner.hashes(ids), strict=True)
            children = [copy.from_hash(self._owner, child, raw) for child, raw in found if "type" in raw]
            copy.after(children, on_failure=job.raw.get("on_child_failure", "fail"))
        self._owner.create([copy])
        self._session.call(lambda client: self._scripts.run(client, "link_rerun", copy.id, job_id))
        return self._queries.get(copy.id or 0) if "children" in job.raw else copy  # the children may have ended

    def set_slots(self, worker: str, job_type: str, count: int) -> None:
        """Tell the process ``worker`` (its name in ``workers()``) to run ``count`` jobs of a type at once.

        Applies within seconds, until the process ends; running jobs are left alone. Raises InvalidJob for an unknown
        worker, for a type that it does not process, and for a count out of range.
        """
        check_type(job_type)
        check_concurrency(count)
        check_string("worker", worker, "kue:host:1234")
        known = {each["worker"]: each["types"] for each in self._statistics.workers()}
        if worker not in known:
            raise InvalidJob(f"there is no worker {worker!r}; queue.workers() lists the names of those there are")
        if job_type not in known[worker]:
            types = ", ".join(known[worker]) or "no type"
            raise InvalidJob(f"the worker {worker} does not process {job_type!r}; it processes {types}")
        key = self._keys.commands(worker)

        def call(client: Any) -> Any:
            pipe = client.pipeline(transaction=False)
            pipe.hset(key, job_type, count)
            pipe.expire(key, COMMAND_KEPT_S)
            return pipe.execute()

        self._session.call(call)

    def change_settings(self, values: Mapping[str, str | None]) -> None:
        """Write values of the hash ``q:settings``; None removes one. Node Kue only reads it."""
        if not isinstance(values, Mapping):
            raise InvalidJob(f"settings must be a mapping of names to strings, not {values!r}")
        for name, value in values.items():
            check_string("the name of a setting", name, "some.setting")
            if value is not None:
                check_string(f"the setting {name}", value, "1")
        written = {name: value for name, value in values.items() if value is not None}
        gone = [name for name, value in values.items() if value is None]

        def change(client: Any) -> None:
            pipe = client.pipeline(transaction=True)
            if written:
                pipe.hset(self._keys.settings, mapping=written)
            if gone:
                pipe.hdel(self._keys.settings, *gone)
            pipe.execute()

        if values:
            self._session.call(change)
