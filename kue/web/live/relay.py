"""Relay the queue's events to browsers: one emitter, a numbered stream of changes, a ring buffer to catch up from.

How pages stay correct: an event only says *that* a job changed. When a frame is built, the jobs named since the last
frame are read from Redis, and the frame contains their current state. So neither the order of events nor a lost detail
can make a page wrong; a later change has its own event and is in a later frame. Frames are numbered, and a client that
misses a number requests the changes since its last frame. The ring stores the job ids of each frame, not their rows:
catching up reads each once, as it is then. Changes without an event (a delayed job created, a state set by Node's
dashboard) are noticed by the counts, which are compared every second.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kue.errors import QueueUnavailable
from kue.states import EVENTS
from kue.text.redaction import safe
from kue.web.present.job_row import Frame, JobId, JobRow, Mark, job_row

if TYPE_CHECKING:
    from kue.client.events import Event
    from kue.queue import Queue

log = logging.getLogger("kue.web")

#: Minimum interval between frames, seconds.
FRAME_S = 0.1
#: Maximum number of jobs in a frame; beyond that, pages must fetch their list again.
FRAME_ROWS = 500
#: Interval between checks of the counts, and between heartbeats to pages, seconds.
COUNTS_S = 1.0
#: How long to wait for the event of a change seen in the counts, seconds.
SUSPECT_S = 0.2
#: Retry interval while Redis is unreachable, seconds.
RETRY_S = 0.5
#: Maximum number of job ids in the ring, over all frames: minutes of a busy queue, a few hundred kB.
RING_IDS = 20_000
#: Maximum number of events waiting for the emitter. Beyond that they are replaced by a resync.
INBOX_EVENTS = 100_000

PlainEvent = tuple[str, dict[str, Any]]

#: Events that change nothing on pages, or always come with another event.
SILENT_EVENTS = frozenset({"ttl exceeded", "ttl exceeded ack"})
#: Events counted by name; others on the channel are counted together.
EVENT_NAMES = frozenset(EVENTS) | {"resync"}


#: The payload of each event for plain clients besides the id, from its first two arguments.
PLAIN_EVENTS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "enqueue": lambda job_type, _: {"type": job_type},
    "start": lambda *_: {},
    "progress": lambda percent, data: {"progress": percent, "data": data},
    "failed attempt": lambda error, attempts: {"error": error, "attempts": attempts},
    "failed": lambda error, _: {"error": error},
    "complete": lambda *_: {},
    "promotion": lambda *_: {},
    "remove": lambda job_type, _: {"type": job_type},
}


def plain_event(event: Event) -> PlainEvent | None:
    """Return the name and payload of a queue event for plain clients, or None if it is not sent."""
    told = PLAIN_EVENTS.get(event.event)
    if event.id is None or told is None:
        return None
    args = [*list(event.args or ()), None, None]
    payload = told(args[0], args[1])
    return event.event, {"id": event.id, **safe(payload)} if payload else {"id": event.id}


class Ring:
    """The job ids of each of the last frames. Bounded by the total number of ids, not by frames."""

    def __init__(self, max_ids: int = RING_IDS) -> None:
        self._frames: collections.deque[tuple[int, tuple[JobId, ...] | None]] = collections.deque()
        self._held = 0
        self._max = max_ids

    def add(self, seq: int, ids: tuple[JobId, ...] | None) -> None:
        """Add frame ``seq``. ``None``: a resync, across which clients cannot catch up."""
        if ids is None:
            self._frames.clear()
            self._held = 0
            return
        self._frames.append((seq, ids))
        self._held += max(1, len(ids))
        while self._held > self._max:
            self._held -= max(1, len(self._frames.popleft()[1] or ()))

    def since(self, seq: int, now: int) -> list[JobId] | None:
        """Return the job ids of the frames after ``seq`` up to ``now``; None if the ring no longer has them all."""
        if seq == now:
            return []
        if seq > now or not self._frames or self._frames[0][0] > seq + 1:
            return None
        return list(dict.fromkeys(i for n, ids in self._frames if n > seq for i in ids or ()))


class Relay:
    """Receives the queue's events and emits them to all clients.

    ``emit_plain(events)`` sends to every plain client, ``emit_pages(frame)`` to every page. Both are called only from
    the emitter task and must not block. ``has_plain`` and ``has_pages`` return whether there are such clients.
    """

    def __init__(
        self,
        queue: Queue,
        emit_plain: Callable[[Sequence[PlainEvent]], None],
        emit_pages: Callable[[Frame], None],
        has_plain: Callable[[], bool],
        has_pages: Callable[[], bool],
    ) -> None:
        self.queue = queue
        self.epoch = secrets.token_hex(6)
        self.seq = 0
        self.counts: dict[str, int] = {}
        self.stale: str | None = None
        #: Held while a frame is numbered and sent, so that clients join between two frames.
        self.lock = threading.RLock()
        self.ring = Ring()
        self._emit_plain, self._emit_pages = emit_plain, emit_pages
        self._has_plain, self._has_pages = has_plain, has_pages
        self._inbox: collections.deque[Any] = collections.deque()
        self._overflow = False
        self._wake = threading.Event()
        self._dirty: dict[JobId, None] = {}
        self._resync = False
        self._received = 0
        #: Events received since the start, by name, and the latest scheduling lag of the emitter.
        self.received: collections.Counter[str] = collections.Counter()
        self.lag_s = 0.0
        self._suspect: tuple[dict[str, int], int] | None = None
        self._stopping = False
        self._unsubscribe: Callable[[], None] = lambda: None

    # Input: called by the listener and by handlers

    def start(self) -> None:
        """Subscribe to the events. The caller starts the emitter, `run`, as a task."""
        self._unsubscribe = self.queue.subscribe(self.receive, required=False)

    def receive(self, event: Event) -> None:
        """Receive one event from the listener. Quick; never raises."""
        self._received += 1
        self.received[event.event if event.event in EVENT_NAMES else "other"] += 1
        if len(self._inbox) >= INBOX_EVENTS:
            self._overflow = True
        else:
            self._inbox.append(event)
        if not self._wake.is_set():  # checking is cheap, setting is not
            self._wake.set()

    def touch(self, job_ids: Iterable[JobId]) -> None:
        """Include these jobs, which changed without an event, in the next frame."""
        with self.lock:
            for job_id in job_ids:
                self._mark_dirty(job_id)
        self._wake.set()

    def stop(self) -> None:
        """Stop listening and end the emitter. May be called twice."""
        self._stopping = True
        with contextlib.suppress(Exception):  # the queue may already be closed; nothing left to do
            self._unsubscribe()
        self._wake.set()

    # Output: for HTTP responses and joining clients

    @property
    def waiting(self) -> int:
        """Events received and not yet sent."""
        return len(self._inbox)

    def mark(self) -> Mark:
        """Return the current position in the stream. Call it *before* reading the data that it describes."""
        return {"epoch": self.epoch, "seq": self.seq}

    def catch_up(self, epoch: object, seq: object, join: Callable[[], None]) -> Frame:
        """Let a page join, and return the changes since its mark: rows, or a resync.

        ``join`` is called between two frames: every frame after the returned ``seq`` reaches the client, and none
        before. The client applies this response first, then the frames received meanwhile.
        """
        with self.lock:
            join()
            now = self.seq
            ids = None
            if epoch == self.epoch and isinstance(seq, int) and not isinstance(seq, bool):
                ids = self.ring.since(seq, now)
        frame: Frame = {"epoch": self.epoch, "seq": now}
        try:
            frame["counts"] = self.queue.counts()
            if ids is None or len(ids) > FRAME_ROWS:
                frame["resync"] = True
            else:
                frame["rows"], frame["gone"] = self.read(ids)
        except Exception as exc:
            frame["resync"] = True
            frame["stale"] = _why(exc)
        return frame

    def read(self, ids: Iterable[JobId]) -> tuple[list[JobRow], list[JobId]]:
        """Return the rows of the existing jobs, and the ids of the missing ones."""
        wanted = list(ids)
        rows = [job_row(job) for job in self.queue.get_many(wanted)]
        found = {row["id"] for row in rows}
        return rows, [job_id for job_id in wanted if job_id not in found]

    # The emitter

    def run(self) -> None:
        """Emit until stopped. Runs in one task, the only one that emits the queue's events."""
        next_frame = next_counts = 0.0
        while not self._stopping:
            now = time.monotonic()
            due = next_frame if (self._dirty or self._resync) else next_counts
            patience = max(0.0, min(due, next_counts) - now)
            if not self._wake.wait(patience):
                self.lag_s = max(0.0, time.monotonic() - now - patience)
            self._wake.clear()
            if self._stopping:
                return
            try:
                self._drain()
                now = time.monotonic()
                if (self._dirty or self._resync) and now >= next_frame:
                    next_frame = now + FRAME_S
                    self._flush()
                if now >= next_counts:
                    next_counts = now + COUNTS_S
                    if self._has_pages() and self._check_counts():
                        next_counts = now + SUSPECT_S
            except Exception as exc:
                next_frame = next_counts = time.monotonic() + RETRY_S
                self._emit_stale(exc)

    def _mark_dirty(self, job_id: JobId) -> None:
        """Add a job to the next frame; with too many, the frame becomes a resync."""
        if len(self._dirty) > FRAME_ROWS:
            self._resync = True
        else:
            self._dirty[job_id] = None

    def _drain(self) -> None:
        """Send the queued events to plain clients, and mark their jobs as changed."""
        anybody, plain = self._has_plain(), list[PlainEvent]()
        if self._overflow:
            self._overflow, self._resync = False, True
        for _ in range(len(self._inbox)):
            event = self._inbox.popleft()
            if event.event == "resync":
                self._resync = True
                continue
            if event.id is not None and event.event not in SILENT_EVENTS:
                self._mark_dirty(event.id)
            if anybody:
                told = plain_event(event)
                if told is not None:
                    plain.append(told)
        if plain:
            self._emit_plain(plain)

    def _flush(self) -> None:
        """Send one frame with the changed jobs. After an error, the next attempt sends them."""
        with self.lock:
            ids, resync = tuple(self._dirty), self._resync or len(self._dirty) > FRAME_ROWS
            self._dirty, self._resync = {}, False
        frame: Frame = {"epoch": self.epoch}
        try:
            if self._has_pages():
                if resync:
                    frame["resync"] = True
                else:
                    frame["rows"], frame["gone"] = self.read(ids)
                counts = self.queue.counts()
                if counts != self.counts or resync:
                    frame["counts"] = self.counts = counts
        except Exception:
            with self.lock:
                self._dirty = {**dict.fromkeys(ids), **self._dirty}
                self._resync = self._resync or resync
            raise
        self._send(frame, None if resync else ids)

    def _check_counts(self) -> bool:
        """Send pages a heartbeat, or a resync if the counts changed without an event.

        Returns True to be called again soon: the event may still arrive.
        """
        counts = self.queue.counts()
        if self._suspect == (counts, self._received):
            self._suspect = None
            self._send({"epoch": self.epoch, "resync": True, "counts": counts}, None)
            self.counts = counts
            return False
        moved = bool(self.counts) and counts != self.counts
        self._suspect = (counts, self._received) if moved and not self._dirty and not self._inbox else None
        if self._suspect is None:
            frame: Frame = {"epoch": self.epoch, "seq": self.seq}
            if counts != self.counts:
                frame["counts"] = self.counts = counts
            self.stale = None
            self._emit_pages(frame)
        return self._suspect is not None

    def _send(self, frame: Frame, ids: tuple[JobId, ...] | None) -> None:
        with self.lock:
            self.stale = None
            self.seq += 1
            frame["seq"] = self.seq
            self.ring.add(self.seq, ids)
            if self._has_pages():
                self._emit_pages(frame)

    def _emit_stale(self, exc: Exception) -> None:
        why = _why(exc)
        if self.stale != why:
            log.warning("Live updates are interrupted: %s", exc)
        self.stale = why
        if self._has_pages():
            self._emit_pages({"epoch": self.epoch, "seq": self.seq, "stale": why})


def _why(exc: Exception) -> str:
    """Return the public description of a failure; the log has the details."""
    return "Redis is not responding" if isinstance(exc, (QueueUnavailable, OSError)) else "internal server error"
