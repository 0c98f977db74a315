"""What jobs need from their queue: create, change, read and await them. Implements ``JobOwner``."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Generic

from .. import child_process, search
from ..backoff import BackoffFunction
from ..base_job import BaseJob, J
from ..errors import DuplicateJob, JobNotFound, KueError
from ..middleware import Middleware, create_through
from ..states import DELAYED, INACTIVE, WAIT_UNTIL_MS
from ..storage.codec import number, to_json, utf8
from ..storage.epoch_time import now_ms
from ..storage.hash_fields import saved_fields, with_context
from ..storage.keys import check_id
from ..storage.script_values import Claim, Created, CreatedFlow
from ..storage.session import PATIENCE_S, Session
from .events import Event, Listener, last_events
from .flow import CHILDREN_A_PAGE, Flow, gather, read_children, read_foremost_children
from .flow import arguments as flow_arguments
from .producer import Producer
from .result_wait import wait_for
from .test_mode import TestMode

#: Seconds that a handler's ``log`` and ``progress`` are retried while Redis is unreachable; then again, unless the
#: attempt was stopped meanwhile.
HANDLER_PATIENCE_S = 5.0
#: Jobs prepared at a time, a few milliseconds of work: other tasks of an event loop run in between.
TURN_JOBS = 250


class JobStore(Generic[J]):
    """Creates, updates and reads the jobs of one queue.

    ``found_by``: returns the part of a job's text to index for search; None: no indexing.
    """

    def __init__(
        self,
        queue: Any,
        session: Session,
        job_class: type[J],
        *,
        job_events: bool,
        searches: bool,
        shown: Callable[[str], str] | None,
    ) -> None:
        self.queue, self.job_class, self.job_events = queue, job_class, job_events
        self.backoffs: dict[str, BackoffFunction] = {}
        self.test_mode: TestMode[J] = TestMode()
        self.middlewares: list[Middleware] = []
        self._session, self._searches, self._shown = session, searches, shown
        self.producer = self._new_producer()
        self.listener = self._new_listener()

    def new(self, job_type: str, data: Any, options: Mapping[str, Any]) -> J:
        """Return an unsaved job. Raises InvalidJob."""
        return self.job_class.from_options(self, job_type, data, options)

    def create(self, made: Sequence[J]) -> None:
        """Save new jobs in as few calls as possible: one for each unique job, and one for all others.

        Raises DuplicateJob for a rejected unique job; those before it are saved.
        """
        if any(job._children for job in made):
            self.create_flow(made)
            return
        self._through(made, lambda: self._save(made))

    def _through(self, made: Sequence[J], save: Callable[[], None]) -> None:
        """Save new jobs inside the middleware."""
        if self.middlewares:
            create_through([each.create for each in self.middlewares], made, save)
        else:
            save()

    def _save(self, made: Sequence[J]) -> None:
        if self.test_mode.takes(made):
            return
        _check_not_importing()
        rows = self._rows(made)
        claims = [None if job.options.unique is None else job.options.unique.claim(job.data) for job in made]
        listening = [job for job in made if job._listeners and job.options.events]
        if not listening:
            self._create(made, rows, claims)
            return
        with self.listener.capture() as attach:
            self._create(made, rows, claims)
            for job in listening:
                assert job.id is not None
                attach(job.id, job._listeners)
                job._listeners = []

    def _create(self, made: Sequence[J], rows: list[tuple[str, ...]], claims: list[Claim | None]) -> None:
        at = 0
        for claim, group in itertools.groupby(claims):
            count = len(list(group))
            jobs, values = made[at : at + count], rows[at : at + count]
            at += count
            if claim is None:
                self._assign(jobs, values, self.producer.create(values, jobs))
            else:
                for job, row in zip(jobs, values, strict=True):
                    self._create_one(job, row, claim)

    def _create_one(self, job: J, row: tuple[str, ...], claim: Claim) -> None:
        job._call = job._call or uuid.uuid4().hex[:16]
        created: Created = self._session.call(
            lambda client: self._session.scripts.create_unique(client, row, claim, job._call)
        )
        job._call = ""
        if not created.is_new and claim.on_duplicate == "reject":
            raise DuplicateJob(created.job_id)
        self._assign([job], [row], [created.job_id])
        job.duplicate = not created.is_new
        if created.fields:
            job._fill(created.fields)
        elif job.duplicate:
            job.state = None  # it has completed and was removed

    def create_flow(self, roots: Sequence[J], running: J | None = None, lane: str = "") -> None:
        """Atomically save new jobs and all jobs that they wait for. ``running`` gets the roots as children.

        Safe to repeat with the same ``lane``, a name unique to this call.

        Raises InvalidJob for an invalid flow, JobNotFound for a child that no longer exists, LeaseLost if the attempt
        has lost the running job.
        """
        flow = gather(roots, of_running=running is not None)
        self._through(flow.jobs, lambda: self._save_flow(flow, running, lane))

    def _save_flow(self, flow: Flow[J], running: J | None, lane: str) -> None:
        if self.test_mode.takes(flow.jobs):
            return
        rows = self._rows(flow.jobs)
        head = flow.jobs[0]
        head._call = head._call or uuid.uuid4().hex[:16]
        rest, name = flow_arguments(flow, rows), lane or f"{head._call}-{len(rows)}"
        attempt = ("", "") if running is None else (running.id, running._token)
        listening = [job for job in flow.jobs if job._listeners and job.options.events]
        uniques = [(at, claim.argument(flow.jobs[at].type)) for at, claim in flow.claims.items()]
        with self.listener.capture() if listening else nullcontext() as attach:
            created: CreatedFlow = self._session.call(
                lambda client: self._session.scripts.create_flow(client, rows, rest, attempt, uniques, lane=name)
            )
            self._assign_flow(flow, rows, created)
            head._call = ""
            for job in listening:
                if job.id is not None:
                    assert attach is not None
                    attach(job.id, job._listeners)
                    job._listeners = []

    def _assign_flow(self, flow: Flow[J], rows: list[tuple[str, ...]], created: CreatedFlow) -> None:
        """Give each job its id: its own, or that of the one that has its claim."""
        new = [at for at in range(len(rows)) if at not in created.others]
        ids = list(range(created.first, created.first + len(new)))
        self._assign([flow.jobs[at] for at in new], [rows[at] for at in new], ids)
        for job in [flow.jobs[at] for at in new]:
            if job._children:
                job.state, job.promote_at = DELAYED, WAIT_UNTIL_MS
        known = {at: each for at, each in created.others.items() if each is not None}
        hashes = self.hashes([job_id for job_id, _ in known.values()]) if known else []
        for (at, (job_id, _)), raw in zip(known.items(), hashes, strict=True):
            job = flow.jobs[at]
            job.id, job.duplicate = job_id, True
            if "type" in raw:
                job._fill(raw)
            else:
                job.state = None  # it completed and was removed
        for job, at in flow.twins:
            first = flow.jobs[at]
            job.id, job.state, job.duplicate = first.id, first.state, True
        for job in (*flow.jobs, *(twin for twin, _ in flow.twins)):
            job._children = []

    def update(self, job: BaseJob) -> None:
        """Update the data and options of an existing job."""
        if self.test_mode.holds(job):
            return
        fields = saved_fields(job.type, job.data, job.options)
        if not fields["backoff"] and not isinstance(job.options.backoff, bool) and "backoff" in job.raw:
            del fields["backoff"]  # a Node producer's function: left unchanged
        found_by = self.found_by(job)
        changed = job.options.search_keys is not None or fields["data"] != job.raw.get("data")
        self._session.call(lambda client: self._session.scripts.update(client, job.id, fields, found_by, changed))

    def read(self, job_id: int | str) -> dict[str, str]:
        """Return a job's hash. Raises JobNotFound, InvalidJob."""
        check_id(job_id)
        raw: dict[str, str] = self._session.read_one("HGETALL", self._session.keys.job(job_id), default={})
        if "type" not in raw:
            raise JobNotFound(job_id)
        return raw

    def children(self, job_id: int | str) -> Iterator[list[tuple[int | str, str]]]:
        """Yield a job's children in pages: (id, "pending", "complete", "failed" or "removed"), in their order."""
        after: int | None = 0
        while after is not None:
            page, after = self.children_page(job_id, after)
            if page:
                yield page

    def children_page(self, job_id: int | str, after: int) -> tuple[list[tuple[int | str, str]], int | None]:
        """Return a page of ``children``, and the argument for the next page; None: it was the last."""
        check_id(job_id)
        key, last = self._session.keys.children(job_id), after + CHILDREN_A_PAGE
        total = number(self._session.read_one("HGET", self._session.keys.job(job_id), "children", default=None)) or 0
        if after >= total:
            return [], None
        page = self._session.call(partial(read_children, key=key, after=after, last=last))
        return page, last if last < total else None

    def foremost_children(self, job_id: int | str, count: int) -> list[int | str]:
        """Return up to ``count`` of a job's children: failed ones first, then pending, then complete ones."""
        check_id(job_id)
        key = self._session.keys.children(job_id)
        found: list[int | str] = self._session.call(partial(read_foremost_children, key=key, count=count))
        return found

    def hashes(self, job_ids: Sequence[int | str]) -> list[dict[str, str]]:
        """Return the hashes of jobs, in order; an empty one for a missing job."""
        keys = self._session.keys
        return self._session.read_each([("HGETALL", keys.job(job_id)) for job_id in job_ids], default={})

    def get(self, job_id: int | str) -> J:
        """Read a job. Raises JobNotFound, InvalidJob."""
        return self.job_class.from_hash(self, job_id, self.read(job_id))

    def remove(self, job_id: int | str) -> None:
        check_id(job_id)
        self._session.call(lambda client: self._session.scripts.remove(client, job_id))

    def cancel(self, job_id: int | str) -> None:
        check_id(job_id)
        self._session.call(lambda client: self._session.scripts.cancel(client, job_id))

    def listen(self, job_id: int | str, event: str, fn: Callable[..., object]) -> None:
        self.listener.on_job(job_id, event, fn)

    def wait(self, job: BaseJob, timeout_s: float | None) -> Any:
        return wait_for(job, self.listener, timeout_s, threading.Event())

    def log(self, job_id: int | str, token: str, line: str) -> None:
        patience, tries = HANDLER_PATIENCE_S if token else PATIENCE_S, itertools.count()
        text = utf8(line)
        scripts = self._session.scripts
        self._session.call(lambda client: scripts.log(client, job_id, token, text, again=next(tries) > 0), patience)

    def progress(self, job: BaseJob, token: str, percent: int, data: str, keep: bool) -> None:
        patience = HANDLER_PATIENCE_S if token else PATIENCE_S
        scripts = self._session.scripts
        self._session.call(lambda client: scripts.progress(client, job.id, token, percent, data, keep), patience)

    def found_by(self, job: BaseJob) -> str:
        """Return the job's search terms for the scripts; "" if this queue indexes nothing."""
        if not self._searches:
            return ""
        data, keys = {} if job.data is None else job.data, job.options.search_keys
        if self._shown is None:
            return search.found_by(data, keys, to_json)
        return search.found_by(data, keys, to_json, self._shown)

    def after_fork(self) -> None:
        """Called in a forked child: forget the parent's event handlers."""
        self._session.connector.after_fork()
        self.producer.begin()
        self.test_mode.after_fork()
        self.listener.stop()  # with green threads, its thread exists here too
        self.listener = self._new_listener()

    def close(self) -> None:
        self.listener.stop()
        self.producer.close()

    def _new_producer(self) -> Producer:
        return Producer(self._session.connector, self._session.scripts)

    def _new_listener(self) -> Listener:
        return Listener(self._session.connector, self._session.keys.events, self._last_events)

    def _last_events(self, job_ids: list[int | str]) -> list[Event]:
        return list(self._session.call(lambda client: last_events(client, self._session.keys, job_ids)))

    def row(self, job: BaseJob) -> tuple[str, ...]:
        """Return a new job's arguments for ``create.lua``."""
        *values, remove = saved_fields(job.type, job.data, job.options).values()
        context = job.__dict__.get("trace_context")
        values.append(with_context(remove, context) if context else remove)
        return (*values, self.found_by(job)) if self._searches else tuple(values)

    def _rows(self, jobs: Sequence[BaseJob]) -> list[tuple[str, ...]]:
        rows = []
        for job in jobs:
            rows.append(self.row(job))
            if len(rows) % TURN_JOBS == 0:
                self.let_others_run()
        return rows

    def let_others_run(self) -> None:
        """Called periodically while many jobs are prepared. Does nothing here: threads switch anyway."""

    @staticmethod
    def _assign(made: Sequence[BaseJob], rows: list[tuple[str, ...]], ids: list[int]) -> None:
        now = now_ms()
        for job, row, job_id in zip(made, rows, ids, strict=True):
            job.id = job_id
            job.state = DELAYED if row[4] else INACTIVE
            job.created_at = job.updated_at = job.promote_at = now


def _check_not_importing() -> None:
    """Raise KueError while a worker's child process imports modules: each child would create the same jobs again."""
    if child_process.is_importing:
        raise KueError(
            "a module that creates jobs when it is imported cannot be imported by a worker's child process: put that "
            'below if __name__ == "__main__":'
        )
