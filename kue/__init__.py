"""The priority job queue of Node's Kue, on Redis, for Python.

import kue

queue = kue.create_queue()

@queue.process("email", concurrency=20)
def send(job):
    job.log("sending to %s", job.data["to"])
    return {"sent": True}

job = queue.create("email", {"to": "tobi@example.com"}).priority("high").attempts(3).save()
print(job.wait(timeout_s=10))
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from . import queue as _queue
from .alerts import Alert, AlertRules
from .base_job import WAIT
from .client.events import Event
from .client.flow import Batch
from .errors import (
    DuplicateJob,
    InvalidAddress,
    InvalidJob,
    JobCancelled,
    JobFailed,
    JobInterrupt,
    JobNotFound,
    JobTimeout,
    KueError,
    LeaseLost,
    QueueUnavailable,
    RateLimited,
    RetryLater,
    ScheduleNotFound,
    UnrecoverableError,
    WaitTimeout,
    WebhookNotFound,
    WorkerStopping,
    WrongState,
)
from .job import Job
from .middleware import Middleware
from .queue import LEASE_MS, Queue
from .schedules import SavedSchedule, Schedule
from .tasks import Task, TypedJob
from .webhooks import Webhook
from .webhooks.store import Webhooks
from .worker.executors.asyncio_executor import HandlerJobs


def _handler_jobs(queue: Queue) -> HandlerJobs:
    """Return the job factory of async handlers. Only they need kue.aio, which other programs never import."""
    from .aio.handler_job import HandlerJobs

    return HandlerJobs(queue)


def _delivery_handler(webhooks: Webhooks[Job]) -> tuple[int, Callable[[Job], Any]]:
    """Make the handler of deliveries. Only programs with webhooks need what it uses of the downloader."""
    from .delivery import delivery_handler

    return delivery_handler(webhooks)


_queue.make_handler_jobs = _handler_jobs
_queue.make_delivery_handler = _delivery_handler

__version__ = "0.1.0"

__all__ = [
    "Alert",
    "AlertRules",
    "Batch",
    "DuplicateJob",
    "Event",
    "InvalidAddress",
    "InvalidJob",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobInterrupt",
    "JobNotFound",
    "JobTimeout",
    "KueError",
    "LeaseLost",
    "Middleware",
    "Queue",
    "QueueUnavailable",
    "RateLimited",
    "RetryLater",
    "SavedSchedule",
    "Schedule",
    "ScheduleNotFound",
    "Task",
    "TypedJob",
    "UnrecoverableError",
    "WAIT",
    "WaitTimeout",
    "Webhook",
    "WebhookNotFound",
    "WorkerStopping",
    "WrongState",
    "create_queue",
]


def create_queue(
    redis: object = None,
    prefix: str = "q",
    *,
    lease_ms: int | timedelta = LEASE_MS,
    search: bool | Callable[[str], str] = False,
    job_events: bool = True,
) -> Queue:
    """Return a queue. ``redis``: the URL of a Redis, a client, or a function that returns one.

    Without ``redis``, the queue uses REDIS_URL, else a Redis on 127.0.0.1:6379, else the embedded Valkey running in
    KUE_DATA_DIR (``.kue``). ``embedded://`` and ``embedded:///path`` start an embedded Valkey, or share a running one.

    ``prefix`` begins all of the queue's keys; queues with different prefixes are independent. ``lease_ms`` (30,000; or
    a timedelta): how long a worker keeps a job without renewing its lease. ``search``: index the jobs that this queue
    saves, for ``queue.search`` here and in Node; if a function, it returns the part of a text to index.
    ``job_events=False``: ``job.on`` of new jobs receives nothing, unless the job's own ``events()`` enables it.

    The queue connects at first use. Raises InvalidAddress for an unusable URL, InvalidJob for an unusable prefix.
    """
    return Queue(redis, prefix, lease_ms=lease_ms, search=search, job_events=job_events)
