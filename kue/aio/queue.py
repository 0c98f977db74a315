"""A queue for asyncio programs: the calls of ``kue.Queue``, awaitable where they talk to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from ..alerts.evaluation import Alerts
from ..async_client.connection.connector import source_like, sync_source
from ..async_client.event_stream import EventStream
from ..async_client.history import AsyncHistory
from ..async_client.job import AsyncJob
from ..async_client.saving import AsyncSaving
from ..async_client.store import AsyncJobStore, AsyncSession
from ..backoff import BackoffFunction
from ..client.events import Event
from ..client.handler_thread import Registration
from ..client.saving import Saving
from ..concurrency import fork
from ..connection.locate import source_of
from ..errors import QueueUnavailable
from ..management.limits import Limits
from ..management.monitor_sessions import MonitorSessions
from ..management.operations import Operations
from ..management.queries import Queries
from ..management.retention import Retention
from ..management.statistics import Statistics
from ..middleware import Middleware
from ..queue import LEASE_MS
from ..queue import Queue as SyncQueue
from ..schedules.declared import OWNER
from ..schedules.definition import Schedule
from ..schedules.store import Schedules
from ..storage.arguments import check_callable, check_queue_event
from ..webhooks.store import Webhooks

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def _of(
    part: str, method: Callable[Concatenate[Any, P], R]
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return an awaitable version of a method of a component, with the same signature and docstring."""

    @wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await self._store.run(method, getattr(self, part), *args, **kwargs)  # type: ignore[no-any-return]
        except QueueUnavailable as exc:
            raise exc.with_traceback(None) from None  # hide the library's frames from the caller

    return call


class _OfSync(Generic[T]):
    """A method of the queue's ``sync`` Queue, unchanged."""

    def __init__(self, bound: Callable[[SyncQueue], T]) -> None:
        self._bound = bound

    @overload
    def __get__(self, queue: None, owner: type) -> _OfSync[T]: ...
    @overload
    def __get__(self, queue: Queue, owner: type) -> T: ...
    def __get__(self, queue: Queue | None, owner: type) -> _OfSync[T] | T:
        return self if queue is None else self._bound(queue.sync)


class Queue:
    """A Redis queue for asyncio, created by ``kue.aio.create_queue``.

    It has every method of ``kue.Queue``; those that talk to Redis are awaited. It belongs to the event loop that first
    uses it, until ``close()``. Workers run outside the loop, in ``sync``.
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
        sync = SyncQueue(sync_source(redis), prefix, lease_ms=lease_ms, search=search, job_events=job_events)
        self._set_up(sync, AsyncSession(source_of(redis), prefix))
        sync._aio_store = self._store
        self.session.connector.outage.on_unreachable = self._tell_error
        sync.on("error", self._tell_error_of_thread)

    def _set_up(self, sync: SyncQueue, session: AsyncSession) -> None:
        #: This queue's Redis connections, for programs that extend it.
        self.session = session
        self.keys, self.prefix = session.keys, session.keys.prefix
        #: The ``kue.Queue`` that runs this queue's handlers: same Redis, its own connections.
        self.sync = sync
        self._store = AsyncJobStore.like(sync._store, self, session)
        #: For tests of programs that create jobs.
        self.test_mode = self._store.test_mode
        self._saving = AsyncSaving(session, self._store)
        self._queries = Queries(session, self._store)
        self._statistics = Statistics(session)
        self._sessions = MonitorSessions(session)
        self._operations = Operations(
            session, self._store, self._queries, self._statistics, Retention(session.scripts)
        )
        self._limits = Limits(session, lambda: self.test_mode.collecting)
        self._schedules = Schedules(session, self._store)
        self._webhooks = Webhooks(session, self._store)
        self._alerts = Alerts(session, self._queries, self._statistics)
        self._on_error: list[Callable[[BaseException], object]] = []
        fork.watch(self)

    async def __aenter__(self) -> Queue:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Shut down: release jobs still running after 10 s, then close the connections."""
        await self.shutdown()

    def __repr__(self) -> str:
        return f"<kue.aio Queue {self.prefix}>"

    # Producing

    @property
    def backoffs(self) -> dict[str, BackoffFunction]:
        """Functions registered by ``backoff(name, fn)``."""
        return self._store.backoffs

    @property
    def job_events(self) -> bool:
        """Whether ``job.on`` of new jobs listens, unless the job's own ``events()`` says otherwise."""
        return self._store.job_events

    @job_events.setter
    def job_events(self, enabled: bool) -> None:
        self._store.job_events = self.sync.job_events = enabled

    @property
    def lease_ms(self) -> int:
        """How long a worker keeps a job without renewing its lease, ms."""
        return self.sync.lease_ms

    def create(self, job_type: str, data: Any = None, **options: Any) -> AsyncJob:
        """Return a new job, to be saved with ``await job.save()``; see ``kue.Queue.create``."""
        return self._store.new(job_type, data, options)

    create_many = _of("_saving", Saving[AsyncJob].create_many)
    create_stream = _of("_saving", Saving[AsyncJob].create_stream)
    save_unique = _of("_saving", Saving[AsyncJob].save_unique)
    claim_unique = _of("_saving", Saving[AsyncJob].claim_unique)
    chain = _of("_saving", Saving[AsyncJob].chain)
    batch = _of("_saving", Saving[AsyncJob].batch)
    backoff = _OfSync(lambda queue: queue.backoff)

    # Working, in ``sync``

    process = _OfSync(lambda queue: queue.process)
    task = _OfSync(lambda queue: queue.task)
    tasks = _OfSync(lambda queue: queue.tasks)
    work = _OfSync(lambda queue: queue.work)
    concurrency = _OfSync(lambda queue: queue.concurrency)
    processing = _OfSync(lambda queue: queue.processing)
    running = _OfSync(lambda queue: queue.running)
    watch_stuck_jobs = _OfSync(lambda queue: queue.watch_stuck_jobs)
    quiet = _OfSync(lambda queue: queue.quiet)

    def use(self, middleware: Middleware) -> Queue:
        """Add a middleware around the creation (``acreate``) and execution of this queue's jobs in this process.

        The first one added is the outermost. Returns the queue, for chaining.
        """
        self.sync.use(middleware)
        return self

    async def shutdown(self, timeout_s: float | timedelta | None = 10.0, job_type: str | None = None) -> None:
        """Stop working, like ``kue.Queue.shutdown`` but without blocking the event loop; then close the connections."""
        await asyncio.to_thread(self.sync.shutdown, timeout_s, job_type)
        if job_type is None:
            await self._store.aclose()

    async def close(self) -> None:
        """Close the connections of a queue without handlers, after pending saves.

        The queue can be used again, also on another event loop. If it runs handlers, call ``shutdown`` instead.
        """
        await self._store.aclose()
        await asyncio.to_thread(self.sync.close)

    # Events

    async def on(self, event: str, fn: Callable[..., object]) -> Queue:
        """Call ``fn(id, *args)`` for each "job complete", "job failed" …. ``fn`` may be a coroutine function.

        Event handlers run one after another in a separate task. "error" calls ``fn(exception)`` for errors of this
        process outside job handlers, and once when Redis becomes unreachable. Returns the queue.
        """
        check_callable(fn, "the handler of an event")
        name = check_queue_event(event)
        if name == "error":
            self._on_error.append(fn)
        else:
            await self._store.run(self._store.listener.on, name, fn)
        return self

    async def subscribe(self, fn: Callable[[Event], object], *, required: bool = True) -> Callable[[], None]:
        """Call ``fn(event)`` for every event of this queue. ``fn`` may be a coroutine function.

        Returns a function that unsubscribes. See ``kue.Queue.subscribe``; ``events()`` is the same as an iterator.
        """
        check_callable(fn, "the handler of an event")
        return await self._store.run(self._store.listener.subscribe, fn, required)

    def events(self, *, required: bool = True) -> EventStream:
        """Return an asynchronous iterator over this queue's events, from all processes.

        It starts with the first iteration or on entering ``async with queue.events() as events``, and ends with
        ``close()``. A "resync" event (id None) means that events may have been missed: reload what you show. Raises
        QueueUnavailable if Redis is unreachable; with ``required=False`` it waits for Redis and starts with a "resync".
        """
        return EventStream(self._store, required)

    # Reading

    get = _of("_queries", Queries[AsyncJob].get)
    get_many = _of("_queries", Queries[AsyncJob].get_many)
    fields = _of("_queries", Queries.fields)
    range = _of("_queries", Queries[AsyncJob].range)
    range_by_state = _of("_queries", Queries[AsyncJob].range_by_state)
    range_by_type = _of("_queries", Queries[AsyncJob].range_by_type)
    range_of = _of("_queries", Queries[AsyncJob].range_of)
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
    oldest_waiting = _of("_queries", Queries[AsyncJob].oldest_waiting)
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
    def history(self) -> AsyncHistory:
        """Counts and times of the last hour and the last day, as recorded by web processes."""
        return AsyncHistory(self._store, self._statistics.history)

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
    set_priority = _of("_operations", Operations[AsyncJob].set_priority)
    pause = _of("_operations", Operations.pause)
    resume = _of("_operations", Operations.resume)
    retain = _OfSync(lambda queue: queue.retain)
    retention = _OfSync(lambda queue: queue.retention)
    clean = _of("_operations", Operations.clean)
    run_as_new = _of("_operations", Operations[AsyncJob].run_as_new)
    set_slots = _of("_operations", Operations.set_slots)
    change_settings = _of("_operations", Operations.change_settings)

    limit = _of("_limits", Limits.limit)
    unlimit = _of("_limits", Limits.unlimit)
    limits = _of("_limits", Limits.limits)
    limit_place = _of("_limits", Limits.limit_place)

    # Schedules

    schedule = _of("_schedules", Schedules[AsyncJob].schedule)
    schedules = _of("_schedules", Schedules[AsyncJob].schedules)
    save_schedule = _of("_schedules", Schedules[AsyncJob].save_schedule)
    schedule_count = _of("_schedules", Schedules[AsyncJob].schedule_count)
    preview_schedule = _of("_schedules", Schedules[AsyncJob].preview_schedule)
    get_schedule = _of("_schedules", Schedules[AsyncJob].get_schedule)
    pause_schedule = _of("_schedules", Schedules[AsyncJob].pause_schedule)
    resume_schedule = _of("_schedules", Schedules[AsyncJob].resume_schedule)
    run_schedule_now = _of("_schedules", Schedules[AsyncJob].run_schedule_now)
    unschedule = _of("_schedules", Schedules[AsyncJob].unschedule)
    scheduled = _OfSync(lambda queue: queue.scheduled)
    webhook = _of("_webhooks", Webhooks[AsyncJob].webhook)
    webhooks = _of("_webhooks", Webhooks[AsyncJob].webhooks)
    webhook_count = _of("_webhooks", Webhooks[AsyncJob].webhook_count)
    get_webhook = _of("_webhooks", Webhooks[AsyncJob].get_webhook)
    remove_webhook = _of("_webhooks", Webhooks[AsyncJob].remove_webhook)
    enable_webhook = _of("_webhooks", Webhooks[AsyncJob].enable_webhook)
    disable_webhook = _of("_webhooks", Webhooks[AsyncJob].disable_webhook)
    test_webhook = _of("_webhooks", Webhooks[AsyncJob].test_webhook)
    deliveries = _of("_webhooks", Webhooks[AsyncJob].deliveries)
    webhook_backlog = _of("_webhooks", Webhooks[AsyncJob].webhook_backlog)
    alerts = _of("_alerts", Alerts.alerts)
    alert_rules = _OfSync(lambda queue: queue.alert_rules)

    async def declare_schedules(self, schedules: Iterable[Schedule] = (), *, owner: str = OWNER) -> list[str]:
        """Replace the schedules in Redis with those in the code; see ``kue.Queue.declare_schedules``."""
        return await asyncio.to_thread(self.sync.declare_schedules, schedules, owner=owner)

    # Inside

    def _after_fork(self) -> None:
        self._store.after_fork()

    def _tell_error(self, exc: BaseException) -> None:
        for fn in self._on_error:
            self._store.listener.call_soon(Registration("error", fn), exc)

    def _tell_error_of_thread(self, exc: BaseException) -> None:
        self._store.call_threadsafe(self._tell_error, exc)


def queue_like(sync: SyncQueue) -> Queue:
    """Return an asyncio queue like ``sync`` for its async handlers' event loop: their ``job.queue``."""
    queue = Queue.__new__(Queue)
    queue._set_up(sync, AsyncSession(source_like(sync.session.connector), sync.prefix))
    return queue
