"""Listens to a queue's raw pub/sub channel: what is really said, whoever says it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import redis

from tests.support.redis_dump import normal_error


class Tap:
    """``messages`` holds every message of the channel since the tap was opened, parsed, oldest first."""

    def __init__(self, redis_url: str, prefix: str = "q") -> None:
        self.messages: list[dict[str, Any]] = []
        self._by_job: dict[str, list[dict[str, Any]]] = {}
        self._arrived = threading.Condition()
        self._client = redis.Redis.from_url(redis_url)
        self._pubsub = self._client.pubsub()
        self._pubsub.subscribe(f"{prefix}:events")
        assert self._pubsub.get_message(timeout=30), "no answer to SUBSCRIBE"
        self._open = True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def of(self, job_id: int) -> list[dict[str, Any]]:
        """The messages of one job. Ids count as equal whether said as a number or as text."""
        return list(self._by_job.get(str(job_id), ()))

    def wait(self, job_id: int, event: str, times: int = 1, timeout_s: float = 30) -> None:
        """Wait until the event was said so often of this job."""
        deadline = time.monotonic() + timeout_s
        with self._arrived:
            while sum(message["event"] == event for message in self.of(job_id)) < times:
                left = deadline - time.monotonic()
                heard = [message["event"] for message in self.of(job_id)]
                assert left > 0, f"job {job_id}: waited {timeout_s} s for {times} x {event!r}, heard {heard}"
                self._arrived.wait(left)

    def close(self) -> None:
        self._open = False
        self._thread.join(timeout=30)
        self._pubsub.close()
        self._client.close()

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _read(self) -> None:
        while self._open:
            message = self._pubsub.get_message(ignore_subscribe_messages=True, timeout=0.05)
            if message is not None:
                with self._arrived:
                    said = json.loads(message["data"])
                    self.messages.append(said)
                    self._by_job.setdefault(str(said["id"]), []).append(said)
                    self._arrived.notify_all()


def normal_events(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """(id, event, args…) of each message of one job, stacks cut, in an order that two runs of one scenario share.

    Node says ``enqueue`` when the reply to its transaction has come. So it may be heard after the ``start`` (and more)
    of a fast worker or the ``remove`` of a fast hand, and that of a retry before or after its ``failed attempt``. They
    are put into the usual order.
    """
    events: list[tuple[Any, ...]] = []
    for message in messages:
        event, args = message["event"], list(message["args"])
        if event == "error":
            args[1] = normal_error(args[1])
        events.append((message["id"], event, *args))
    _put_late_enqueues_in_their_place(events)
    for i in range(len(events) - 1):
        if (events[i][1], events[i + 1][1]) == ("failed attempt", "enqueue"):
            events[i], events[i + 1] = events[i + 1], events[i]
    return events


def _put_late_enqueues_in_their_place(events: list[tuple[Any, ...]]) -> None:
    """Each start has an enqueue before it, and so has a removal, if there is one at all."""
    enqueued = wanted = at = 0
    while at < len(events):
        event = events[at][1]
        if event == "enqueue":
            enqueued += 1
        wanted = wanted + 1 if event == "start" else max(wanted, event == "remove")
        late = next((i for i in range(at + 1, len(events)) if events[i][1] == "enqueue"), None)
        if enqueued < wanted and late is not None:
            events.insert(at, events.pop(late))
            enqueued += 1
            at += 1
        at += 1
