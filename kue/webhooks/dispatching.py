"""Create delivery jobs for the events in the outbox: a maintenance task of any process with workers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from ..errors import KueError
from ..schedules.owner import ScheduleOwner
from ..storage.codec import to_json
from ..storage.session import Session
from .definition import Webhook
from .messages import Occurrence
from .store import Webhooks

log = logging.getLogger("kue.webhooks")

#: Interval of polling the outbox, and of checking whether there are webhooks, seconds.
LOOK_S, IDLE_S = 0.1, 1.0
#: Maximum number of events per poll. Each may be for several webhooks.
BATCH = 100
#: Maximum number of jobs created per call, because of Lua's ``unpack`` and the server's time.
JOBS_MAX = 500


class Dispatching:
    """Empties the outbox; the first process to do so wins. ``start`` is called once there are webhooks."""

    def __init__(
        self, session: Session, owner: ScheduleOwner[Any], store: Webhooks[Any], start: Callable[[], object]
    ) -> None:
        self._owner, self._store, self._scripts, self._keys = owner, store, session.scripts, session.keys
        self._start = start
        self._is_started = False
        #: The webhooks as last read, and the corresponding version of the wanted events.
        self._webhooks: list[Webhook] = []
        self._version: str | None = None
        self._at_start: list[Callable[[], object]] = []

    def at_start(self, call: Callable[[], object]) -> None:
        """Call this once, at the next poll that reaches Redis: it saves webhooks from the settings."""
        self._at_start.append(call)

    def run(self, client: Any) -> float:
        """A maintenance task: dispatch waiting events; return the seconds until its next run."""
        while self._at_start:
            self._at_start[0]()
            del self._at_start[0]
        if not client.exists(self._keys.webhook_events, self._keys.webhook_outbox, self._keys.webhooks):
            return IDLE_S
        wanted = client.get(self._keys.webhook_events)
        version = wanted.partition("\n")[0] if wanted else ""
        if not version and not client.exists(self._keys.webhook_outbox):
            if not self._is_started and client.exists(self._keys.webhooks):  # disabled ones: their jobs fail at once
                self._begin()
            return IDLE_S
        self._begin()
        entries = client.xrange(self._keys.webhook_outbox, count=BATCH)
        if not entries:
            return LOOK_S
        if version != self._version or not version:
            self._webhooks, self._version = (self._store.webhooks() if version else []), version
        self._dispatch(client, [Occurrence(key, raw.get("event", ""), raw) for key, raw in entries])
        return 0.0 if len(entries) == BATCH else LOOK_S

    def _dispatch(self, client: Any, found: list[Occurrence]) -> None:
        rows: list[tuple[str, ...]] = []
        ids: list[str] = []
        for what in found:
            for webhook in self._webhooks:
                if webhook.wants(what.event, what.job_type) and (row := self._row(webhook, what)):
                    rows.append(row)
            ids.append(what.id)
            if len(rows) >= JOBS_MAX:
                break
        asked = to_json({"version": self._version or "", "ids": ids})
        values = [value for row in rows for value in row[:8]]
        done = self._scripts.run(client, "dispatch_webhooks", "", asked, len(rows), *values)
        if not done:  # another process was faster, or a webhook has changed since they were read
            self._version = None

    def _row(self, webhook: Webhook, what: Occurrence) -> tuple[str, ...] | None:
        try:
            return self._owner.row(self._store.new_delivery(webhook, what))
        except Exception:  # or the events after it would wait forever
            log.exception("Event %s of job %s cannot be sent to webhook %s", what.event, what.job_id, webhook.name)
            return None

    def _begin(self) -> None:
        if self._is_started:
            return
        self._is_started = True
        try:
            self._start()
        except KueError as exc:  # a setting that cannot be used, or a type that is taken
            log.error("This process cannot deliver webhooks: %s", exc)
