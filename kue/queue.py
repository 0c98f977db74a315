"""A queue: what a user holds."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, TypeVar, overload

from . import backoff
from . import job as jobs
from .client.events import Event, Listener, last_events
from .client.producer import Producer
from .client.result_wait import wait_for
from .concurrency import fork
from .connection.connector import Connector, patiently
from .connection.locate import source_of
from .errors import InvalidJob, JobNotFound
from .job import Job
from .management.operations import Operating
from .management.retention import Retention
from .states import DELAYED, EVENTS, INACTIVE
from .storage.codec import utf8
from .storage.keys import Keys, check_prefix
from .storage.scripts import Scripts
from .test_mode import TestMode
from .worker.engine import Engine
from .worker.maintenance import Upkeep
from .worker.remote_control import Orders

log = logging.getLogger("kue")

#: A lease, ms: after a crash a job runs again within this and a second.
LEASE_MS = 30_000
#: Seconds that a user's call is repeated while Redis is away, before QueueUnavailable.
PATIENCE_S = 2.0
#: The same for a handler's ``log`` and ``progress``, which go on after that unless the attempt was stopped meanwhile.
HANDLER_PATIENCE_S = 5.0

F = TypeVar("F", bound=Callable[..., Any])


class Queue(Operating):
    """A queue on Redis. It opens connections, threads and subscriptions only when it needs them, and shares none."""

    def __init__(
        self,
        redis: object = None,
        prefix: str = "q",
        *,
        lease_ms: int = LEASE_MS,
        search: bool | Callable[[str], str] = False,
        job_events: bool = True,
    ) -> None:
        self._connector = Connector(source_of(redis))
        check_prefix(prefix)
        if self._connector.is_cluster and "{" not in prefix:
            prefix = f"{{{prefix}}}"  # as Node Kue with ioredis: all keys of a queue in one slot
        self.prefix = prefix
        self.keys = Keys(prefix)
        #: Functions registered by ``backoff(name, fn)``.
        self.backoffs: dict[str, backoff.BackoffFunction] = {}
        self._scripts = Scripts(self.keys)
        self._producer = Producer(self._connector, self._scripts)
        self._listener = self._new_listener()
        self._lease_ms = lease_ms
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._upkeep: Upkeep | None = None
        self._retention = Retention(self._scripts)
        self._on_error: list[Callable[[BaseException], object]] = []
        self._search = bool(search)
        self._shown = search if callable(search) else None
        #: Whether ``job.on`` of new jobs listens, unless the job's own ``events()`` says otherwise.
        self.job_events = job_events
        #: For the tests of programs that make jobs.
        self.test_mode = TestMode(self)
        self._connector.outage.on_away = self._tell_error
        fork.watch(self)

    def __repr__(self) -> str:
        return f"<Queue {self.prefix}>"

    # Producing

    def create(self, job_type: str, data: Any = None, **options: Any) -> Job:
        """Return a new job, to be saved with ``save()``. ``data`` is anything that JSON can hold.

        ``options``: title, priority, attempts, backoff, delay, ttl, remove_on_complete, search_keys, events; each is
        also a method of the job. Raises InvalidJob, which says what to write instead.
        """
        return jobs.from_options(self, job_type, data, options)

    def create_many(self, wanted: Iterable[Job | Mapping[str, Any]]) -> list[Job]:
        """Save many new jobs, 250 a call, none waiting for the answer to the one before; return them in order.

        Each is an unsaved job or a mapping with ``type`` and, as ``create`` takes them, ``data`` and options. All are
        checked before the first is saved.
        """
        made = []
        for each in wanted:
            if isinstance(each, Job):
                made.append(each)
                continue
            options = dict(each)
            if "type" not in options:
                raise InvalidJob(f'a job needs a "type": {each!r}')
            made.append(self.create(options.pop("type"), options.pop("data", None), **options))
        if any(job.id is not None or job.queue is not self for job in made):
            raise InvalidJob("create_many takes new jobs of this queue only")
        if made:
            self._create(made)
        return made

    def save_unique(self, job: Job, name: str) -> Job:
        """Save a new job, unless one of its type with the same ``data[name]`` waits or runs: then return that one.

        One atomic step, whatever the number of processes that try. Only jobs saved by this method are seen, and those
        given to ``claim_unique``.
        """
        if job.id is not None or job.queue is not self:
            raise InvalidJob("save_unique takes a new job of this queue")
        if not isinstance(job.data, dict) or not isinstance(job.data.get(name), str):
            raise InvalidJob(f"the job's data must be a dict with a text {name!r}")
        if self.test_mode.takes([job]):
            return job
        row = self._row(job)
        listeners = job._listeners if job.options.events else []
        with self._listener.capture() if listeners else nullcontext() as attach:
            value = job.data[name]

            def create(client: Any) -> tuple[int, bool]:
                return self._scripts.create_unique(client, row, name, value)

            while True:
                job_id, made = self._ask(create)
                if made:
                    break
                try:
                    return self.get(job_id)
                except JobNotFound:
                    pass  # it ended and was removed just now: there is room for a new one
            self._assign([job], [row], [job_id])
            if attach is not None and listeners:
                attach(job_id, listeners)
        job._listeners = []
        return job

    def claim_unique(self, job: Job, name: str) -> None:
        """Let ``save_unique`` find a saved job by ``data[name]``, unless it finds another; only for strings."""
        value = job.data.get(name) if isinstance(job.data, dict) else None
        if isinstance(value, str) and not self.test_mode.holds(job):
            with suppress(JobNotFound):  # it has ended and was removed meanwhile
                self._ask(lambda client: self._scripts.claim(client, job.id, name, value))

    def backoff(self, name: str, fn: backoff.BackoffFunction) -> None:
        """Register ``fn(attempts_made, delay_ms) -> ms`` under a name that jobs can choose as their backoff.

        Every process that works on such jobs must register it; elsewhere the job's own delay is used and its log tells.
        """
        self.backoffs[name] = fn

    # Working

    @overload
    def process(self, job_type: str, concurrency: int, handler: F) -> F: ...
    @overload
    def process(self, job_type: str, concurrency: F) -> F: ...
    @overload
    def process(self, job_type: str, concurrency: int = 1) -> Callable[[F], F]: ...
    def process(self, job_type: str, concurrency: Any = 1, handler: Any = None) -> Any:
        """Run ``handler`` for the jobs of a type, ``concurrency`` at a time; also a decorator.

        A handler ``(job)`` returns the result or raises; ``(job, done)`` and ``(job, ctx, done)`` end with
        ``done(error, result)`` as in Node. Node Kue: Queue#process.
        """
        if callable(concurrency):
            concurrency, handler = 1, concurrency

        def register(fn: Any) -> Any:
            if not self.test_mode.puts_off(lambda: self._working().process(job_type, concurrency, fn)):
                self._working().process(job_type, concurrency, fn)
            return fn

        return register if handler is None else register(handler)

    def concurrency(self, job_type: str, count: int | None = None) -> int:
        """Return how many jobs of a type run at once in this process; with ``count``, change that first."""
        if self._engine is None or job_type not in self._engine.types():
            raise InvalidJob(f"this process has no handler for {job_type!r}: call process() first")
        return self._engine.concurrency(job_type, count)

    def processing(self) -> dict[str, int]:
        """Return the types that this process works on, with their concurrency."""
        return {} if self._engine is None else self._engine.types()

    def running(self) -> list[int | str]:
        """Return the ids of the jobs that this process runs now."""
        return [] if self._engine is None else self._engine.running_ids()

    def watch_stuck_jobs(self, interval_ms: int = 1000) -> None:
        """Do nothing: Node Kue needs it to restore lost tokens, which any process with workers here does by itself."""

    def quiet(self) -> None:
        """Take no new jobs in this process; what runs goes on."""
        if self._engine is not None:
            self._engine.quiet()

    def shutdown(self, timeout_s: float | None = 10.0, job_type: str | None = None) -> None:
        """Stop working: take no new job, wait for those that run, hand back what still runs after ``timeout_s``.

        A job handed back waits again and its attempt is not counted. With ``job_type`` only that type stops; else the
        queue is closed. Node Kue: Queue#shutdown, where a job cut off counts as failed.
        """
        if job_type is not None:
            if self._engine is not None:
                self._engine.quiet(job_type)
                self._engine.drain(timeout_s, job_type)
            return
        if self._upkeep is not None:
            self._upkeep.stop()
        if self._engine is not None:
            self._engine.stop(timeout_s)
        self.close()

    def close(self) -> None:
        """Close the connections. Not for a queue that works: ``shutdown`` is."""
        self._listener.stop()
        self._producer.close()
        self._connector.close()

    # Events

    def on(self, event: str, fn: Callable[..., object]) -> Queue:
        """Call ``fn(id, *args)`` for each "job complete", "job failed" … of any process.

        Handlers run one after another, in a thread of their own: a slow one delays others, but nothing else.

        "error" calls ``fn(exception)`` for what goes wrong in this process outside a handler, once as Redis goes away
        too. Returns the queue, so that it chains. Node Kue: Queue#on.
        """
        if event == "error":
            self._on_error.append(fn)
            return self
        name = event.removeprefix("job ")
        if name == event or name not in EVENTS:
            raise InvalidJob(
                f'an event is "error" or one of {", ".join(f"job {each}" for each in EVENTS)}; not {event!r}'
            )
        self._listener.on(name, fn)
        return self

    def subscribe(self, fn: Callable[[Event], object]) -> Callable[[], None]:
        """Call ``fn(event)`` for every event of this queue, by whatever process; return a function that ends it.

        An event "resync" (id None) says that the connection was lost meanwhile: read again what you show.
        """
        return self._listener.subscribe(fn)

    # What jobs ask of their queue

    def _create(self, made: list[Job]) -> None:
        if self.test_mode.takes(made):
            return
        rows = [self._row(job) for job in made]
        listening = [job for job in made if job._listeners and job.options.events]
        if not listening:
            self._assign(made, rows, self._producer.create(rows, made))
            return
        with self._listener.capture() as attach:
            self._assign(made, rows, self._producer.create(rows, made))
            for job in listening:
                assert job.id is not None
                attach(job.id, job._listeners)
                job._listeners = []

    def _row(self, job: Job) -> tuple[str, ...]:
        """Return what ``create.lua`` takes for a job."""
        return (*job._values(), job._found_by()) if self._search else job._values()

    @staticmethod
    def _assign(made: list[Job], rows: list[tuple[str, ...]], ids: list[int]) -> None:
        now = jobs.now_ms()
        for job, row, job_id in zip(made, rows, ids, strict=True):
            job.id = job_id
            job.state = DELAYED if row[4] else INACTIVE
            job.created_at = job.updated_at = job.promote_at = now

    def _update(self, job: Job) -> None:
        if self.test_mode.holds(job):
            return
        kind, data, priority, attempts, delay, ttl, pause, remove = job._values()
        fields = {"type": kind, "data": data, "priority": priority, "max_attempts": attempts, "delay": delay,
                  "ttl": ttl, "removeOnComplete": remove}  # fmt: skip
        if pause or isinstance(job.options.backoff, bool) or "backoff" not in job.raw:
            fields["backoff"] = pause  # else it is a Node producer's function: left as it is
        found_by = job._found_by() if self._search else ""
        changed = job.options.search_keys is not None or data != job.raw.get("data")
        self._ask(lambda client: self._scripts.update(client, job.id, fields, found_by, changed))

    def _log(self, job_id: int | str, token: str, line: str) -> None:
        patience, tries = HANDLER_PATIENCE_S if token else PATIENCE_S, itertools.count()
        text = utf8(line)
        self._ask(lambda client: self._scripts.log(client, job_id, token, text, again=next(tries) > 0), patience)

    def _progress(self, job: Job, token: str, percent: int, data: str, keep: bool) -> None:
        patience = HANDLER_PATIENCE_S if token else PATIENCE_S
        self._ask(lambda client: self._scripts.progress(client, job.id, token, percent, data, keep), patience)

    def _wait(self, job: Job, timeout_s: float | None) -> Any:
        return wait_for(job, self._listener, timeout_s)

    # Inside

    def _new_listener(self) -> Listener:
        listener = Listener(self._connector, self.keys.events)
        listener.ended = lambda ids: list(self._ask(lambda client: last_events(client, self.keys, ids)))
        return listener

    def _after_fork(self) -> None:
        """Called in a child process, which starts with no handlers of jobs or events: these are the parent's."""
        self._lock = threading.Lock()
        self._connector.after_fork()
        self._producer.begin()
        self.test_mode.after_fork()
        self._listener.stop()  # its green thread, if threads are green, exists here too
        self._listener = self._new_listener()
        self._engine = self._upkeep = None

    def _ask(self, call: Callable[[Any], Any], patience_s: float = PATIENCE_S) -> Any:
        """Make one call to Redis for a user: repeated for a while if Redis is away, then QueueUnavailable."""
        return patiently(lambda: call(self._connector.shared()), patience_s)

    def _working(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = Engine(
                    self._connector,
                    self._scripts,
                    make_job=lambda job_id, raw: jobs.from_hash(self, job_id, raw),
                    backoffs=self.backoffs,
                    lease_ms=self._lease_ms,
                    on_error=self._tell_error,
                )
                self._upkeep = Upkeep(
                    self._connector,
                    self._scripts,
                    self.backoffs,
                    self._engine.registry,
                    self._engine.let_go,
                    self._lease_ms,
                )
                self._upkeep.add(self._retention.run)
                self._upkeep.add(Orders(self.keys, self._engine.worker, self._engine.concurrency).run)
                self._upkeep.start()
            return self._engine

    def _hand_back(self) -> bool:
        """Hand back all that runs, in a true thread, when the process's own threads do not get on."""
        return self._engine is None or self._engine.hand_back()

    def _tell_error(self, exc: BaseException) -> None:
        for fn in self._on_error:
            try:
                fn(exc)
            except Exception:
                log.exception("a handler of queue errors failed")
