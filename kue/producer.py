"""Creating jobs: what many threads save at the same time goes out in one call."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Sequence

from .connect import Connector, Link
from .scripts import CREATE_MAX, Scripts

#: Seconds after the first failure in which a create is repeated before the caller is told.
RETRY_S = 2.0


class _Entry:
    """One caller's jobs, and what became of them."""

    __slots__ = ("done", "error", "ids", "leads", "rows")

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        self.rows = rows
        self.ids: list[int] = []
        self.error: BaseException | None = None
        self.leads = False
        self.done: threading.Event | None = None


class Producer:
    """Group commit: while one create is under way, other threads' jobs gather and go out with the next.

    The calls go over one connection (a lane), one after another and numbered, and Redis remembers the last number of
    the lane: so a call whose answer was lost can be repeated, and creates nothing twice.
    """

    def __init__(self, connector: Connector, scripts: Scripts) -> None:
        self._connector, self._scripts = connector, scripts
        self._lock = threading.Lock()
        self._waiting: list[_Entry] = []
        self._busy = False
        self._pid = 0
        self._open_lane()

    def create(self, rows: Sequence[Sequence[str]]) -> list[int]:
        """Create jobs given as the values of ``create.lua``; return their ids.

        Raises QueueUnavailable within a bounded time if Redis is away.
        """
        entry = _Entry(rows)
        with self._lock:
            self._waiting.append(entry)
            if self._busy:
                entry.done = threading.Event()
            else:
                self._busy = entry.leads = True
        if entry.done is not None:
            entry.done.wait()
        if entry.leads:
            self._lead(entry)
        if entry.error is not None:
            raise entry.error
        return entry.ids

    def close(self) -> None:
        self._link.drop()

    def _lead(self, own: _Entry) -> None:
        """Send what has gathered, `own` first; then let the next in line lead."""
        with self._lock:
            batch: list[_Entry] = []
            size = 0
            while self._waiting and (not batch or size + len(self._waiting[0].rows) <= CREATE_MAX):
                entry = self._waiting.pop(0)
                batch.append(entry)
                size += len(entry.rows)
        try:
            ids = self._send([row for entry in batch for row in entry.rows])
            at = 0
            for entry in batch:
                entry.ids = ids[at : at + len(entry.rows)]
                at += len(entry.rows)
        except BaseException as exc:  # whatever it was, the others wait for an answer
            for entry in batch:
                entry.error = exc
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                if following is None:
                    self._busy = False
                else:
                    following.leads = True
            for entry in batch:
                if entry is not own and entry.done is not None:
                    entry.done.set()
            if following is not None and following.done is not None:
                following.done.set()

    def _send(self, rows: list[Sequence[str]]) -> list[int]:
        if self._pid != os.getpid():  # a fork must share neither connection nor lane
            self._open_lane()
        ids: list[int] = []
        for at in range(0, len(rows), CREATE_MAX):
            first = self._send_part(rows[at : at + CREATE_MAX])
            ids.extend(range(first, first + len(rows[at : at + CREATE_MAX])))
        return ids

    def _send_part(self, rows: list[Sequence[str]]) -> int:
        self._mark += 1
        return self._link.patiently(
            lambda client: self._scripts.create(client, rows, lane=self._lane, mark=self._mark), RETRY_S
        )

    def _open_lane(self) -> None:
        self._pid = os.getpid()
        self._link = Link(self._connector)
        self._lane = uuid.uuid4().hex[:16]
        self._mark = 0
