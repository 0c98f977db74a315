"""How programs save jobs, besides ``job.save()``: many at once, unique ones, chains and batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Generic

from ..base_job import BaseJob, J
from ..errors import InvalidJob, JobNotFound
from ..storage.arguments import check_list
from ..storage.hash_fields import Unique
from ..storage.session import Session
from .flow import Batch
from .job_store import TURN_JOBS, JobStore
from .stream import Apart, in_thread, save_all


class Saving(Generic[J]):
    """Saves new jobs of one queue. ``store`` creates them."""

    #: What ``create_many`` and ``create_stream`` accept.
    _iterables: tuple[type, ...] = (Iterable,)
    #: Calls a function while this thread continues.
    _apart: Apart = staticmethod(in_thread)

    def __init__(self, session: Session, store: JobStore[J]) -> None:
        self._session, self._store = session, store

    def create_many(self, wanted: Iterable[J | Mapping[str, Any]]) -> list[J]:
        """Save many new jobs in pipelined calls of 250, and return them in order.

        Each is an unsaved job or a mapping with ``type``, ``data`` and the options of ``create``. All are validated
        before the first is saved.
        """
        if isinstance(wanted, (BaseJob, Mapping)):
            raise InvalidJob("create_many takes a list of jobs or mappings, not a single one")
        if not isinstance(wanted, self._iterables):
            raise InvalidJob(f"create_many takes a list of jobs or mappings, not {wanted!r}")
        made = list(self._prepared(wanted))
        if made:
            self._store.create(made)
        return made

    def create_stream(self, wanted: Iterable[J | Mapping[str, Any]]) -> int:
        """Save any number of new jobs in constant memory, as they come; return how many.

        They are given as for ``create_many``, for example by a generator, and saved 2,000 at a time. If one is invalid,
        or the generator raises an exception, those before it are saved; a note of the exception tells how many. While
        2,000 are saved, the next ones are taken.
        """
        if isinstance(wanted, (BaseJob, Mapping)):
            raise InvalidJob("create_stream takes an iterable of jobs or mappings, not a single one")
        if not isinstance(wanted, self._iterables):
            raise InvalidJob(f"create_stream takes an iterable of jobs or mappings, not {wanted!r}")
        return save_all(self._prepared(wanted), self._store.create, self._apart)

    def save_unique(self, job: J, name: str) -> J:
        """Save a new job, unless one of its type with the same ``data[name]`` waits or runs: then it becomes that one.

        Short for ``job.unique({name: job.data[name]}).save()``.
        """
        self._check_new(job, "save_unique takes a new job of this queue")
        if not isinstance(job.data, dict) or not isinstance(job.data.get(name), str):
            raise InvalidJob(f"the job's data must be a dict with a string {name!r}")
        job.options.unique = Unique({name: job.data[name]}, of_data=True)
        self._store.create([job])
        return job

    def chain(self, *jobs: J) -> J:
        """Save new jobs that run one after another, each once the previous one has completed; return the last.

        Saved atomically. If one fails for good, so do those after it, until it is retried.
        """
        if not jobs:
            raise InvalidJob("chain takes the jobs that are to run one after another")
        for job in jobs:
            self._check_new(job, "chain takes new jobs of this queue, one after another: chain(first, second)")
        for before, job in itertools.pairwise(jobs):
            job.after(before)
        self._store.create([jobs[-1]])
        return jobs[-1]

    def batch(self, jobs: Iterable[J], *, then: J | None = None, always: J | None = None) -> Batch[J]:
        """Atomically save new jobs and a job to run after them.

        ``then`` runs when all have completed, and fails if one fails for good. ``always`` runs when all have ended.
        """
        made = check_list("jobs", jobs, "[queue.create(…)]")
        if then is None and always is None:
            raise InvalidJob("batch takes a job that runs after the others: then=queue.create(…) or always=…")
        if then is always:
            raise InvalidJob("then and always must be two different jobs")
        for name, job in (("then", then), ("always", always)):
            if job is not None:
                self._check_new(job, f"{name} must be a new job of this queue: {name}=queue.create(…)")
        if then is not None:
            then.after(made)
        if always is not None:
            always.after(made, on_failure="ignore")
        self._store.create_flow([job for job in (then, always) if job is not None])
        return Batch(made, then, always)

    def claim_unique(self, job: BaseJob, name: str) -> None:
        """Make ``save_unique`` find a saved job by ``data[name]`` (a string), unless it finds another one."""
        if not isinstance(job, BaseJob) or job.id is None:
            raise InvalidJob(f"claim_unique takes a saved job of this queue, not {job!r}")
        value = job.data.get(name) if isinstance(job.data, dict) else None
        if isinstance(value, str) and not self._store.test_mode.holds(job):
            with suppress(JobNotFound):  # it was removed meanwhile
                claim = Unique({name: value}, of_data=True).claim(job.data)
                self._session.call(lambda client: self._session.scripts.claim(client, job.id, job.type, claim))

    def _prepared(self, wanted: Iterable[J | Mapping[str, Any]]) -> Iterator[J]:
        """Yield new jobs, each given as one or as a mapping. Raises InvalidJob."""
        for at, each in enumerate(wanted, 1):
            if at % TURN_JOBS == 0:
                self._store.let_others_run()
            if isinstance(each, self._store.job_class):
                self._check_new(each, "create_many and create_stream take new jobs of this queue only")
                yield each
                continue
            if not isinstance(each, Mapping):
                raise InvalidJob(f'create_many takes unsaved jobs and mappings with a "type", not {each!r}')
            options = dict(each)
            if "type" not in options:
                raise InvalidJob(f'a job must have a "type": {each!r}')
            yield self._store.new(options.pop("type"), options.pop("data", None), options)

    def _check_new(self, job: BaseJob, what: str) -> None:
        """Raise InvalidJob unless the job is new and belongs to this queue."""
        if not isinstance(job, self._store.job_class) or job.id is not None or job._owner is not self._store:
            raise InvalidJob(f"{what}; not {job!r}")
