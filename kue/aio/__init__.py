"""The queue for asyncio programs.

import kue.aio

async with kue.aio.create_queue() as queue:
    job = await queue.create("email", {"to": "tobi@example.com"}).priority("high").save()
    print(await job.wait(timeout_s=10))
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from ..async_client.event_stream import EventStream
from ..async_client.job import AsyncJob
from ..async_client.typed_job import AsyncTypedJob
from ..queue import LEASE_MS
from .queue import Queue

__all__ = ["AsyncJob", "AsyncTypedJob", "EventStream", "Queue", "create_queue"]


def create_queue(
    redis: object = None,
    prefix: str = "q",
    *,
    lease_ms: int | timedelta = LEASE_MS,
    search: bool | Callable[[str], str] = False,
    job_events: bool = True,
) -> Queue:
    """Return an asyncio queue on the Redis that ``redis`` names: a URL, a client, or a function that returns one.

    Like ``kue.create_queue``, but also accepts ``redis.asyncio`` clients. A client only supplies settings: the queue
    opens its own connections. The queue belongs to the event loop that first uses it.
    """
    return Queue(redis, prefix, lease_ms=lease_ms, search=search, job_events=job_events)
