"""The queue: a facade over its components, whose methods it exposes."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, overload
from weakref import WeakMethod

from . import backoff, child_process
from .alerts.evaluation import Alerts
from .client.events import Event
from .client.job_store import JobStore
from .client.saving import Saving
from .concurrency import fork
from .connection.locate import Borrowed, Embedded, Place, source_of
from .errors import InvalidJob, QueueUnavailable
from .job import Job
from .management.history import History
from .management.limits import Limits
from .management.monitor_sessions import MonitorSessions
from .management.operations import Operations
from .management.queries import Queries
from .management.retention import Retention
from .management.statistics import Statistics
from .middleware import Middleware, check_middleware
from .schedules.declared import DeclaredSchedules
from .schedules.firing import Firing
from .schedules.store import Schedules
from .storage.arguments import check_callable, check_queue_event, check_string, check_timeout, check_type
from .storage.codec import check_concurrency, check_ms
from .storage.session import Session
from .tasks import Declare, Task
from .tasks.registry import TaskRegistry
from .webhooks.definition import DELIVERY_TYPE
from .webhooks.dispatching import Dispatching
from .webhooks.store import Webhooks
from .worker.executors.asyncio_executor import HandlerJobs
from .worker.isolation.options import Isolation, check_isolation, size_bytes
from .worker.isolation.target import find_target
from .worker.worker import Worker

if TYPE_CHECKING:
    from .async_client.loop_stores import LoopStores
    from .async_client.store import AsyncJobStore

log = logging.getLogger("kue")

#: Default lease, ms: after a crash, a job runs again within this time plus a second.
LEASE_MS = 30_000
#: Shortest lease, ms: a busy process could not renew a shorter one in time.
LEASE_MIN_MS = 100

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")


def _of(part: str, method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Return a method that delegates to a component, with the same signature and docstring."""

    @wraps(method)
    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(getattr(self, part), *args, **kwargs)
        except QueueUnavailable as exc:
            raise exc.with_traceback(None) from None  # hide the library's frames from the caller

    return call


def _not_set(queue: Any) -> Any:
    raise NotImplementedError


#: Returns the job factory of a queue's async handlers. Set by kue/__init__.py, since kue.aio imports this module.
make_handler_jobs: Callable[[Queue], HandlerJobs] = _not_set
#: Returns how many deliveries to webhooks a process runs at once, and their handler; kue/__init__.py sets it as well.
make_delivery_handler: Callable[[Webhooks[Job]], tuple[int, Callable[[Job], Any]]] = _not_set


class Queue:
    """A queue on Redis, created by ``kue.create_queue``.

    It opens connections, threads and subscriptions only when needed, and shares none with other queues.
    """

    def __init__(
        self,
        redis: object = None,
        prefix: str = "q",
        *,
        lease_ms: int | timedelta = LEASE_MS,
        search: bool | Callable[[str], str] = False,
        job_events: bool = True,
    ) -> None:
        #: The connections to Redis, for programs that extend the queue.
        self.session = session = Session(source := source_of(redis), prefix)
        #: How long a worker keeps a job without renewing its lease, ms.
        self.lease_ms = int(check_ms("lease_ms", lease_ms))
        if self.lease_ms < LEASE_MIN_MS:
            raise InvalidJob(f"lease_ms must be at least {LEASE_MIN_MS} ms, not {lease_ms!r}: workers renew it in time")
        if not isinstance(search, bool) and not callable(search):
            raise InvalidJob(f"search must be True, False, or a function of a text, not {search!r}")
        self.keys, self.prefix = session.keys, session.keys.prefix
        self._source, self._given_prefix = source, prefix
        self._store = JobStore(
            self, session, Job, job_events=job_events, searches=bool(search), shown=search if callable(search) else None
        )
        #: For tests of programs that create jobs.
        self.test_mode = self._store.test_mode
        retention = Retention(session.scripts)
        self._saving = Saving(session, self._store)
        self._queries = Queries(session, self._store)
        self._statistics = Statistics(session)
        self._sessions = MonitorSessions(session)
        self._operations = Operations(session, self._store, self._queries, self._statistics, retention)
        self._schedules = Schedules(session, self._store)
        self._declared = DeclaredSchedules(self._schedules)
        self._limits = Limits(session, lambda: self.test_mode.collecting)
        self._webhooks = Webhooks(session, self._store)
        self._dispatching = Dispatching(session, self._store, self._webhooks, self._start_deliveries)
        self._alerts = Alerts(
            session, self._queries, self._statistics, lambda: self._worker.finished, frozenset({DELIVERY_TYPE})
        )
        self._worker = Worker(
            session, lambda job_id, raw: Job.from_hash(self._store, job_id, raw), self._store.backoffs, self.lease_ms,
            self._tell_error, (
                retention.run, Firing(session, self._store, self._declared.write).run, self._dispatching.run,
                self._alerts.run,
            ),
            lambda: make_handler_jobs(self),
        )  # fmt: skip
        #: The stores of ``acreate``, once it was called.
        self._loop_stores: LoopStores | None = None
        #: The store of the kue.aio.Queue around this one.
        self._aio_store: AsyncJobStore | None = None
        self._tasks = TaskRegistry(self._store, self.process, PROCESS_OPTIONS)
        self._on_error: list[Callable[[BaseException], object]] = []
        session.connector.outage.on_unreachable = self._tell_error
        fork.watch(self)
        if isinstance(source, Embedded):
            source.user = WeakMethod(self._end)

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Shut down: release jobs still running after 10 s, then close the connections."""
        self.shutdown()

    def __repr__(self) -> str:
        return f"<Queue {self.prefix}>"

    # Producing

    @property
    def backoffs(self) -> dict[str, backoff.BackoffFunction]:
        """Functions registered by ``backoff(name, fn)``."""
        return self._store.backoffs

    @property
    def job_events(self) -> bool:
        """Whether ``job.on`` of new jobs receives events, unless the job's own ``events()`` overrides it."""
        return self._store.job_events

    @job_events.setter
    def job_events(self, enabled: bool) -> None:
        self._store.job_events = enabled

    def create(self, job_type: str, data: Any = None, **options: Any) -> Job:
        """Return a new, unsaved job; save it with ``save()``. ``data`` is any JSON value.

        ``options``: title, priority, attempts, backoff, delay, ttl, remove_on_complete, search_keys, events; each is
        also a method of the job. Raises InvalidJob.
        """
        return self._store.new(job_type, data, options)

    create_many = _of("_saving", Saving[Job].create_many)
    create_stream = _of("_saving", Saving[Job].create_stream)
    save_unique = _of("_saving", Saving[Job].save_unique)
    claim_unique = _of("_saving", Saving[Job].claim_unique)
    chain = _of("_saving", Saving[Job].chain)
    batch = _of("_saving", Saving[Job].batch)

    def backoff(self, name: str, fn: backoff.BackoffFunction) -> None:
        """Register ``fn(attempts_made, delay_ms)`` under a name that jobs can choose as their backoff.

        It returns ms, or a timedelta.

        Every process that runs such jobs must register it. Otherwise the job's own delay is used, and its log says so.
        """
        check_callable(fn, "a backoff")
        self._store.backoffs[check_string("the name of a backoff", name, "gentle")] = fn

    # Working

    @overload
    def process(
        self, job_type: str, concurrency: int, handler: F, *, isolation: str | None = None,
        memory_limit: int | str | None = None, max_jobs: int | None = None, prestart: bool = True,
    ) -> F: ...  # fmt: skip
    @overload
    def process(
        self, job_type: str, concurrency: F, *, isolation: str | None = None,
        memory_limit: int | str | None = None, max_jobs: int | None = None, prestart: bool = True,
    ) -> F: ...  # fmt: skip
    @overload
    def process(
        self, job_type: str, concurrency: int = 1, *, isolation: str | None = None,
        memory_limit: int | str | None = None, max_jobs: int | None = None, prestart: bool = True,
    ) -> Callable[[F], F]: ...  # fmt: skip
    def process(
        self,
        job_type: str,
        concurrency: Any = 1,
        handler: Any = None,
        *,
        isolation: str | None = None,
        memory_limit: int | str | None = None,
        max_jobs: int | None = None,
        prestart: bool = True,
    ) -> Any:
        """Run ``handler`` for the jobs of a type, ``concurrency`` at a time; also a decorator.

        It starts immediately: a program that imports a module with such a call becomes a worker. ``task`` only
        declares.

        A handler ``(job)`` returns the result or raises; ``(job, done)`` and ``(job, ctx, done)`` end with
        ``done(error, result)`` as in Node. An ``async def`` handler ``(job)`` is a task on the process's event loop; it
        awaits its job's methods. Node Kue: Queue#process.

        With ``isolation="process"`` each attempt runs in a child process that runs nothing else at the same time. A
        child that exceeds ``memory_limit`` (bytes, or "512M") fails its attempt; a child is replaced after ``max_jobs``
        attempts. ``prestart=False`` starts the children with the first job. The handler must be a function that a child
        can import.
        """
        if callable(concurrency):
            concurrency, handler = 1, concurrency
        check_type(job_type)
        check_concurrency(concurrency)
        is_isolated = check_isolation(isolation, memory_limit, max_jobs, prestart)
        limit_bytes = size_bytes(memory_limit)

        def register(fn: Any) -> Any:
            self._declared.handles(fn, job_type)
            options = Isolation(limit_bytes, max_jobs, prestart) if is_isolated else None
            target = find_target(fn, required=is_isolated)
            if not self.test_mode.puts_off(lambda: self._worker.process(job_type, concurrency, fn, target, options)):
                self._worker.process(job_type, concurrency, fn, target, options)
            return fn

        return register if handler is None else register(handler)

    def task(
        self,
        name: str | None = None,
        *,
        concurrency: int = 1,
        priority: str | float | None = None,
        attempts: int | None = None,
        backoff: Any = None,
        delay: float | timedelta | None = None,
        ttl: float | timedelta | None = None,
        remove_on_complete: bool | None = None,
        search_keys: str | list[str] | None = None,
        unique: Any = None,
        **process_options: Any,
    ) -> Declare:
        """Declare a function as a task: ``fn.create(…)`` returns a job for a call of it. A decorator.

        The job's type is ``name`` (default: the function's name); its data is the JSON object of the arguments,
        validated and converted by the function's annotations here and in the worker. The options are defaults of its
        jobs. ``process_options`` are passed to ``process``.

        A task is only a declaration: it runs where ``work`` is called, as in ``kue worker``. Raises InvalidJob for a
        name that is taken, or an annotation without a JSON form.
        """
        if name is not None and not isinstance(name, str):
            raise InvalidJob("write @queue.task() or @queue.task(name=…), with parentheses")
        given = process_options.get
        check_isolation(given("isolation"), given("memory_limit"), given("max_jobs"), given("prestart", True))
        size_bytes(given("memory_limit"))
        options = {
            "priority": priority, "attempts": attempts, "backoff": backoff, "delay": delay, "ttl": ttl,
            "remove_on_complete": remove_on_complete, "search_keys": search_keys,
            "unique": unique,
        }  # fmt: skip
        return self._tasks.declare(name, concurrency, options, process_options)

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """The tasks declared on this queue, by name."""
        return dict(self._tasks.tasks)

    def work(self, only: str | Iterable[str] | None = None) -> None:
        """Start the tasks declared on this queue, or the named ones, and return immediately.

        They run in the background, like ``process``, until ``shutdown``. Running tasks are left alone; tasks declared
        later need another call. Saves the schedules of ``@queue.scheduled``. ``kue worker module:queue`` calls this.
        Raises InvalidJob for an unknown task name.
        """
        self._tasks.work(only)
        self._declared.write_at_start()

    def concurrency(self, job_type: str, count: int | None = None) -> int:
        """Return a type's concurrency in this process; with ``count``, change it first."""
        return self._worker.concurrency(job_type, count)

    def processing(self) -> dict[str, int]:
        """Return the types that this process runs, with their concurrency."""
        return self._worker.types()

    def running(self) -> list[int | str]:
        """Return the ids of the jobs running in this process."""
        return self._worker.running_ids()

    def watch_stuck_jobs(self, interval_ms: float | timedelta = 1000) -> None:
        """Do nothing. Node Kue needs it to restore lost wake-up tokens; here every process with workers does that."""

    def quiet(self) -> None:
        """Reserve no more jobs in this process; running ones finish."""
        self._worker.quiet()

    def shutdown(self, timeout_s: float | timedelta | None = 10.0, job_type: str | None = None) -> None:
        """Stop working: reserve no more jobs, wait for running ones, then release those still running.

        ``timeout_s``: how long to wait (seconds, or a timedelta; None: no limit). A released job is queued again,
        without counting the attempt. With ``job_type``, only that type stops; otherwise the queue is closed. Node Kue:
        Queue#shutdown, where an interrupted job counts as failed.
        """
        timeout_s = check_timeout(timeout_s)
        if job_type is not None:
            self._worker.stop_type(job_type, timeout_s)
            return
        self._worker.stop(timeout_s)
        self.close()

    def close(self) -> None:
        """Close the connections of a queue without handlers. If it runs handlers, call ``shutdown`` instead."""
        self._store.close()
        self.session.connector.close()

    def use(self, middleware: Middleware) -> Queue:
        """Add a middleware around the creation and execution of this queue's jobs in this process.

        The first one added is the outermost. Returns the queue, for chaining.
        """
        check_middleware(middleware)
        self._store.middlewares.append(middleware)
        return self

    # Events

    def on(self, event: str, fn: Callable[..., object]) -> Queue:
        """Call ``fn(id, *args)`` for each "job complete", "job failed" … of any process.

        Event handlers run one after another in a separate thread: a slow one only delays other event handlers.

        "error" calls ``fn(exception)`` for errors of this process outside job handlers, and once when Redis becomes
        unreachable. Returns the queue, for chaining. Node Kue: Queue#on.
        """
        check_callable(fn, "the handler of an event")
        name = check_queue_event(event)
        if name == "error":
            self._on_error.append(fn)
        elif not child_process.is_importing:  # in a child process: the parent has imported the same module and listens
            self._store.listener.on(name, fn)
        return self

    def subscribe(self, fn: Callable[[Event], object], *, required: bool = True) -> Callable[[], None]:
        """Call ``fn(event)`` for every event of this queue, from any process; return a function that unsubscribes.

        A "resync" event (id None) means that events may have been missed: reload what you show. Raises QueueUnavailable
        if Redis is unreachable; with ``required=False`` it waits for Redis and starts with a "resync".
        """
        check_callable(fn, "the handler of an event")
        if child_process.is_importing:
            return lambda: None
        return self._store.listener.subscribe(fn, required)

    # Reading

    get = _of("_queries", Queries[Job].get)
    get_many = _of("_queries", Queries[Job].get_many)
    fields = _of("_queries", Queries.fields)
    range = _of("_queries", Queries[Job].range)
    range_by_state = _of("_queries", Queries[Job].range_by_state)
    range_by_type = _of("_queries", Queries[Job].range_by_type)
    range_of = _of("_queries", Queries[Job].range_of)
    search = _of("_queries", Queries.search)
    tree = _of("_queries", Queries.tree)
    log = _of("_queries", Queries.log)
    ids = _of("_queries", Queries.ids)
    active = _of("_queries", Queries.active)
    inactive = _of("_queries", Queries.inactive)
    complete = _of("_queries", Queries.complete)
    failed = _of("_queries", Queries.failed)
    delayed = _of("_queries", Queries.delayed)
    rank = _of("_queries", Queries.rank)
    rank_in = _of("_queries", Queries.rank_in)
    place = _of("_queries", Queries.place)
    first_ids = _of("_queries", Queries.first_ids)
    newest_ids = _of("_queries", Queries.newest_ids)
    oldest_waiting = _of("_queries", Queries[Job].oldest_waiting)
    recent_errors = _of("_queries", Queries.recent_errors)
    look_through = _of("_queries", Queries.look_through)
    count_of = _of("_statistics", Statistics.count_of)
    types = _of("_statistics", Statistics.types)
    card = _of("_statistics", Statistics.card)
    counts = _of("_statistics", Statistics.counts)
    counts_by_type = _of("_statistics", Statistics.counts_by_type)
    inactive_count = _of("_statistics", Statistics.inactive_count)
    active_count = _of("_statistics", Statistics.active_count)
    complete_count = _of("_statistics", Statistics.complete_count)
    failed_count = _of("_statistics", Statistics.failed_count)
    delayed_count = _of("_statistics", Statistics.delayed_count)
    work_time = _of("_statistics", Statistics.work_time)
    setting = _of("_statistics", Statistics.setting)
    settings = _of("_statistics", Statistics.settings)
    paused = _of("_statistics", Statistics.paused)
    workers = _of("_statistics", Statistics.workers)
    server_ms = _of("_statistics", Statistics.server_ms)
    leases = _of("_statistics", Statistics.leases)
    waiting_parents = _of("_statistics", Statistics.waiting_parents)
    memory = _of("_statistics", Statistics.memory)

    @property
    def history(self) -> History:
        """Counts and times of the last hour and the last day, as recorded by web processes."""
        return self._statistics.history

    # Changing by hand

    shared_secret = _of("_sessions", MonitorSessions.shared_secret)
    end_session = _of("_sessions", MonitorSessions.end_session)
    end_sessions_of = _of("_sessions", MonitorSessions.end_sessions_of)
    session_has_ended = _of("_sessions", MonitorSessions.session_has_ended)
    check_health = _of("_operations", Operations.check_health)
    remove = _of("_operations", Operations.remove)
    set_state = _of("_operations", Operations.set_state)
    retry = _of("_operations", Operations.retry)
    promote = _of("_operations", Operations.promote)
    cancel = _of("_operations", Operations.cancel)
    pause_job = _of("_operations", Operations.pause_job)
    resume_job = _of("_operations", Operations.resume_job)
    set_priority = _of("_operations", Operations[Job].set_priority)
    pause = _of("_operations", Operations.pause)
    resume = _of("_operations", Operations.resume)
    retain = _of("_operations", Operations.retain)
    retention = _of("_operations", Operations.retention)
    clean = _of("_operations", Operations.clean)
    run_as_new = _of("_operations", Operations[Job].run_as_new)
    set_slots = _of("_operations", Operations.set_slots)
    limit = _of("_limits", Limits.limit)
    unlimit = _of("_limits", Limits.unlimit)
    limits = _of("_limits", Limits.limits)
    limit_place = _of("_limits", Limits.limit_place)
    change_settings = _of("_operations", Operations.change_settings)

    # Schedules

    schedule = _of("_schedules", Schedules[Job].schedule)
    schedules = _of("_schedules", Schedules[Job].schedules)
    save_schedule = _of("_schedules", Schedules[Job].save_schedule)
    schedule_count = _of("_schedules", Schedules[Job].schedule_count)
    preview_schedule = _of("_schedules", Schedules[Job].preview_schedule)
    get_schedule = _of("_schedules", Schedules[Job].get_schedule)
    pause_schedule = _of("_schedules", Schedules[Job].pause_schedule)
    resume_schedule = _of("_schedules", Schedules[Job].resume_schedule)
    run_schedule_now = _of("_schedules", Schedules[Job].run_schedule_now)
    unschedule = _of("_schedules", Schedules[Job].unschedule)
    scheduled = _of("_declared", DeclaredSchedules.scheduled)
    declare_schedules = _of("_declared", DeclaredSchedules.declare_schedules)

    # Webhooks and alerts

    webhook = _of("_webhooks", Webhooks[Job].webhook)
    webhooks = _of("_webhooks", Webhooks[Job].webhooks)
    webhook_count = _of("_webhooks", Webhooks[Job].webhook_count)
    get_webhook = _of("_webhooks", Webhooks[Job].get_webhook)
    remove_webhook = _of("_webhooks", Webhooks[Job].remove_webhook)
    enable_webhook = _of("_webhooks", Webhooks[Job].enable_webhook)
    disable_webhook = _of("_webhooks", Webhooks[Job].disable_webhook)
    test_webhook = _of("_webhooks", Webhooks[Job].test_webhook)
    deliveries = _of("_webhooks", Webhooks[Job].deliveries)
    webhook_backlog = _of("_webhooks", Webhooks[Job].webhook_backlog)
    alert_rules = _of("_alerts", Alerts.alert_rules)
    alerts = _of("_alerts", Alerts.alerts)

    # Internal

    def _start_deliveries(self) -> None:
        """Let this process deliver to webhooks, among its other jobs."""
        count, handler = make_delivery_handler(self._webhooks)
        self._worker.process(DELIVERY_TYPE, count, handler)

    async def _loop_store(self) -> AsyncJobStore:
        """Return the store for jobs of ``task.acreate``."""
        if self._aio_store is not None:
            return self._aio_store
        if self._loop_stores is None:
            from .async_client.loop_stores import (
                LoopStores,  # imported here: programs without an event loop do not need it
            )

            self._loop_stores = LoopStores(self._new_async_store)
        return await self._loop_stores.get()

    def _new_async_store(self) -> AsyncJobStore:
        from .async_client.store import AsyncJobStore, AsyncSession

        source = Borrowed(self._source) if isinstance(self._source, Place) else self._source
        session = AsyncSession(source, self._given_prefix)
        return AsyncJobStore.like(self._store, self, session)

    def _end(self) -> None:
        """Called when the program, and with it the embedded server, ends."""
        self.shutdown(0)

    def _after_fork(self) -> None:
        self._store.after_fork()
        self._worker.after_fork()
        self._tasks.after_fork()
        self._loop_stores = None

    def _declare_at_start(self, owner: str) -> None:
        """Make this process's worker save the schedules that the program declares."""
        self._declared.write_at_start(owner)

    def _release_all(self) -> bool:
        return self._worker.release_all()

    def _tell_error(self, exc: BaseException) -> None:
        for fn in self._on_error:
            try:
                fn(exc)
            except Exception:
                log.exception("An error handler of the queue failed")


#: Options of ``process`` besides type, concurrency and handler.
PROCESS_OPTIONS = tuple(inspect.signature(Queue.process).parameters)[4:]
