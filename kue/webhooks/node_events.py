"""Attempts that end in Node workers: only pub/sub tells of them, so whoever listens puts them into the outbox."""

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

#: The events that are taken from pub/sub; the script knows those of this library's own workers again.
EVENTS = frozenset({"complete", "failed", "failed attempt"})
#: Events that are kept until they are noted, and that one round trip notes.
KEPT, BATCH = 10_000, 200
#: Seconds between two rounds, and between two looks at what webhooks want.
ROUND_S = 0.5


class NodeEvents:
    """Listens in one process. ``subscribe`` is that of the queue. Any number of processes may listen."""

    def __init__(self, session: Session, subscribe: Callable[..., Callable[[], None]]) -> None:
        self._session, self._subscribe = session, subscribe
        self._heard: deque[Event] = deque(maxlen=KEPT)
        self._wanted: frozenset[str] = frozenset()
        self._stopping = threading.Event()
        self._end: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Listen until ``stop``, in a thread of its own."""
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
                continue  # what was heard is kept
            except Exception:
                log.exception("The ends of attempts in Node workers cannot be noted for webhooks")

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
    """Return the arguments of an event as the scripts take them."""
    return "," + to_json(args)[1:-1] if args else ""
