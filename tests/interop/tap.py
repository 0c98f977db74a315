"""Listens to a queue's raw pub/sub channel: what is really said, whoever says it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import redis

from tests.interop.dump import normal_error


class Tap:
    """``messages`` holds every message of the channel since the tap was opened, parsed, oldest first."""

    def __init__(self, redis_url: str, prefix: str = "q") -> None:
        self.messages: list[dict[str, Any]] = []
        self._arrived = threading.Condition()
        self._client = redis.Redis.from_url(redis_url)
        self._pubsub = self._client.pubsub()
        self._pubsub.subscribe(f"{prefix}:events")
        assert self._pubsub.get_message(timeout=5), "no answer to SUBSCRIBE"
        self._open = True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def of(self, job_id: int) -> list[dict[str, Any]]:
        """The messages of one job. Ids count as equal whether said as a number or as text."""
        return [message for message in list(self.messages) if str(message["id"]) == str(job_id)]

    def wait(self, job_id: int, event: str, times: int = 1, timeout_s: float = 10) -> None:
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
        self._thread.join(timeout=5)
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
                    self.messages.append(json.loads(message["data"]))
                    self._arrived.notify_all()


def normal_events(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """(id, event, args…) of each message, stacks cut, in an order that two runs of one scenario share.

    Node says ``enqueue`` when the reply to its transaction has come, so a fast worker's ``start`` may be heard before
    it, and that of a retry before or after its ``failed attempt``. Both are put into the usual order.
    """
    events = []
    for message in messages:
        event, args = message["event"], list(message["args"])
        if event == "error":
            args[1] = normal_error(args[1])
        events.append((message["id"], event, *args))
    for first, second in (("enqueue", "start"), ("enqueue", "failed attempt")):
        for i in range(len(events) - 1):
            if events[i][1] == second and events[i + 1][1] == first:
                events[i], events[i + 1] = events[i + 1], events[i]
    return events
