"""Attempts that end in Node workers are known only from pub/sub: each subscriber puts them into the outbox."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ..client.events import Event
from ..concurrency import green
from ..errors import QueueUnavailable
from ..storage.codec import to_json
from ..storage.session import Session

log = logging.getLogger("kue.webhooks")

#: The events taken from pub/sub; the script recognizes those of this library's own workers.
EVENTS = frozenset({"complete", "failed", "failed attempt"})
#: Maximum number of events kept until they are recorded, and of events recorded per round trip.
KEPT, BATCH = 10_000, 200
#: Interval between rounds, and between checks of the webhooks' events, seconds.
ROUND_S = 1.0


class NodeEvents:
    """The subscriber of one process. ``subscribe`` is the queue's. Any number of processes may subscribe."""

    def __init__(self, session: Session, subscribe: Callable[..., Callable[[], None]]) -> None:
        self._session, self._subscribe = session, subscribe
        self._heard: deque[Event] = deque(maxlen=KEPT)
        self._wanted: frozenset[str] = frozenset()
        self._stopping = threading.Event()
        self._end: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Receive events until ``stop``, in a separate thread."""
        green.spawn(self._run)

    def stop(self) -> None:
        self._stopping.set()
        self._end()

    def _run(self) -> None:
        self._end = self._subscribe(self._receive, required=False)
        while not self._stopping.wait(ROUND_S):
            try:
                self._session.call(self._round)
            except QueueUnavailable:
                continue  # received events are kept
            except Exception:
                log.exception("Cannot record the ended attempts of Node workers for webhooks")

    def _receive(self, event: Event) -> None:
        if event.event in self._wanted and event.id is not None:
            self._heard.append(event)

    def _round(self, client: Any) -> None:
        text = client.get(self._session.keys.webhook_events) or ""
        self._wanted = frozenset(line.partition("\t")[0] for line in text.split("\n")[1:]) & EVENTS
        while self._heard:
            some = [self._heard[at] for at in range(min(BATCH, len(self._heard)))]
            calls = [(each.id, each.event, _arguments(each.args)) for each in some]
            self._session.scripts.run_each(client, "note_node_event", calls)
            for _ in some:
                self._heard.popleft()


def _arguments(args: list[Any]) -> str:
    """Return an event's arguments in the scripts' form."""
    return "," + to_json(args)[1:-1] if args else ""
