"""Bulk actions on a list, a search or selected jobs: undoable for some seconds, then run in chunks with progress.

On the wire an action is called ``act``.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from flask import Blueprint, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue

from kue.concurrency import green
from kue.errors import JobNotFound, QueueUnavailable, WrongState
from kue.states import STATES
from kue.web.access.audit import audit
from kue.web.actions.bulk_progress import OPEN, BulkStatusStore
from kue.web.errors import error_response
from kue.web.live.current import monitor, parse_id, queue
from kue.web.pages.search import MAX_QUERY, matching

if TYPE_CHECKING:
    from kue.queue import Queue

bulk = Blueprint("bulk", __name__)
log = logging.getLogger("kue.web")

#: Seconds in which a bulk action can be undone.
UNDO_S = 5.0
#: Number of jobs between two checks for a stop request.
CHUNK = 100
#: Seconds between two such checks before the action starts.
POLL_S = 0.5
#: Maximum number of bulk actions that a process remembers, and that may wait or run at a time.
KEPT, MAX_OPEN = 50, 5
#: Maximum number of job ids in one request.
MAX_IDS = 1_000
#: The states whose jobs each action applies to.
STATES_OF = {
    "retry": ("failed",),
    "promote": ("delayed",),
    "remove": ("inactive", "delayed", "failed", "complete"),
}


class BulkStatus(TypedDict):
    """The progress of a bulk action."""

    id: str
    act: str
    total: int
    done: int
    skipped: int
    """Jobs whose state had changed, or that were removed, before their turn."""
    phase: str
    """waiting, running, done, undone, stopped or failed"""
    starts_in_ms: int
    error: str | None


class Selection(NamedTuple):
    """The jobs of a bulk action: given by id, or by states, type and search words ("" is any)."""

    states: tuple[str, ...]
    job_type: str
    words: str
    named: tuple[int | str, ...] = ()

    def __str__(self) -> str:
        if self.named:
            return f"{len(self.named)} selected jobs: {', '.join(map(str, self.named[:20]))}"
        found = f" found by {self.words!r}" if self.words else ""
        kind = f"type {self.job_type!r}" if self.job_type else "every type"
        return f"{' or '.join(self.states)} jobs{found} of {kind}"

    def ids(self, queue: Queue) -> list[int | str]:
        """Read the ids of the jobs."""
        if self.named:
            return list(self.named)
        if self.words:
            return matching(queue, self.words, self.states, self.job_type)
        return [job_id for state in self.states for job_id in queue.ids(state, self.job_type or None)]

    def count(self, queue: Queue) -> int:
        """Return the number of jobs."""
        if self.words:
            return len(self.ids(queue))
        counts = queue.counts(self.job_type or None)
        return sum(counts[state] for state in self.states)


class BulkAction:
    """One action on the jobs that were selected when it was requested."""

    def __init__(self, store: BulkStatusStore, action: str, states: tuple[str, ...], ids: list[int | str]) -> None:
        self.store = store
        self.id = secrets.token_hex(8)
        self.action, self.states, self.ids = action, states, ids
        self.total = len(ids)
        self.done = self.skipped = 0
        self.phase = "waiting"
        self.error: str | None = None
        self.starts_at = time.monotonic() + UNDO_S
        self.stopped = threading.Event()

    def status(self) -> BulkStatus:
        left_ms = max(0, int((self.starts_at - time.monotonic()) * 1000))
        return {
            "id": self.id, "act": self.action, "total": self.total, "done": self.done, "skipped": self.skipped,
            "phase": self.phase, "starts_in_ms": left_ms if self.phase == "waiting" else 0, "error": self.error,
        }  # fmt: skip

    def run(self, queue: Queue, touch: Callable[[list[int | str]], None]) -> None:
        """Wait until it can no longer be undone, then process the jobs. Always ends in one of the final phases."""
        try:
            while (left_s := self.starts_at - time.monotonic()) > 0:
                if self._should_stop() or self.stopped.wait(min(left_s, POLL_S)):
                    self.phase = "undone"
                    return
            self.phase = "running"
            for at in range(0, self.total, CHUNK):
                if self._should_stop():
                    self.phase = "stopped"
                    return
                chunk = self.ids[at : at + CHUNK]
                for job_id in chunk:
                    self._one(queue, job_id)
                touch(chunk)
            self.phase = "done"
        except QueueUnavailable:
            self.phase, self.error = "failed", "Redis is not responding"
        except Exception:
            log.exception("bulk %s failed", self.action)
            self.phase, self.error = "failed", "internal server error"
        finally:
            self.ids = []
            with contextlib.suppress(QueueUnavailable):
                self.store.write(self.status())

    def _should_stop(self) -> bool:
        """Store the status; return whether a stop was requested, in this or another web process."""
        return self.store.write(self.status()) or self.stopped.is_set()

    def _one(self, queue: Queue, job_id: int | str) -> None:
        try:
            if self.action == "retry":
                queue.retry(job_id)
            elif self.action == "promote":
                queue.promote(job_id)
            else:
                # A job that a worker has reserved meanwhile is not removed.
                if queue.get(job_id).state not in self.states:
                    self.skipped += 1
                    return
                queue.remove(job_id)
            self.done += 1
        except (JobNotFound, WrongState):
            self.skipped += 1


class BulkActions:
    """The bulk actions of this process."""

    def __init__(self, store: BulkStatusStore) -> None:
        self.store = store
        self._all: OrderedDict[str, BulkAction] = OrderedDict()

    def add(self, new: BulkAction) -> bool:
        """Remember an action; False if too many are waiting or running."""
        if sum(each.phase in OPEN for each in self._all.values()) >= MAX_OPEN:
            return False
        self._all[new.id] = new
        while len(self._all) > KEPT:
            self._all.popitem(last=False)
        return True

    def status(self, bulk_id: str) -> BulkStatus:
        """Return the status of an action of any web process, or abort with 404."""
        here = self._all.get(bulk_id)
        found: BulkStatus | None = here.status() if here is not None else self.store.read(bulk_id)
        if found is None:
            abort(error_response(404, "no such bulk action, or it finished more than an hour ago"))
        return found

    def stop(self, bulk_id: str) -> BulkStatus:
        """Stop an action of any web process; return its status, or abort with 404."""
        found = self.status(bulk_id)
        if bulk_id in self._all:
            self._all[bulk_id].stopped.set()
        else:
            self.store.ask_stop(bulk_id)
        return found


def _actions() -> BulkActions:
    kept = current_app.extensions
    if "kue_bulk_actions" not in kept:
        kept["kue_bulk_actions"] = BulkActions(BulkStatusStore(queue()))
    found: BulkActions = kept["kue_bulk_actions"]
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _selection(allowed: Collection[str], asked: Mapping[str, object]) -> Selection:
    """Return the jobs selected by ``{ids}``, ``{state, type}`` or ``{q}``, in the allowed states; or abort with 400."""
    if not allowed:
        abort(400, f"act must be one of {', '.join(STATES_OF)}")
    if "ids" in asked:
        return Selection(tuple(allowed), "", "", _named(asked["ids"]))
    state, job_type, words = (_text(asked.get(name)) for name in ("state", "type", "q"))
    words = words.strip()[:MAX_QUERY]
    if state not in ("", *allowed) or not (state or words):
        abort(400, f"this action applies to jobs in the state {' or '.join(allowed)}")
    return Selection((state,) if state else tuple(allowed), job_type, words)


def _named(ids: object) -> tuple[int | str, ...]:
    if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_IDS:
        abort(400, f"ids must be a list of 1 to {MAX_IDS:,} job ids")
    return tuple(dict.fromkeys(parse_id(str(each)) for each in ids))


@bulk.get("/monitor/bulk/preview")
def preview() -> ResponseReturnValue:
    """Count the jobs that an action on this list, or on all that a search finds (``q``), would affect."""
    action = request.args.get("act")
    chosen = _selection(STATES if action is None else STATES_OF.get(action, ()), request.args)
    return jsonify({"total": chosen.count(queue())})


@bulk.post("/monitor/bulk")
def begin() -> ResponseReturnValue:
    """Accept ``{act, state, type}``, ``{act, q}`` or ``{act, ids}``; it starts after UNDO_S. Returns its status.

    With ``q`` or ``ids`` it affects jobs in all states that the action applies to.
    """
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict):
        abort(400, "send {act, state, type}, {act, q} or {act, ids} as JSON")
    action = _text(asked.get("act"))
    chosen = _selection(STATES_OF.get(action, ()), asked)
    new = BulkAction(_actions().store, action, chosen.states, chosen.ids(queue()))
    if not _actions().add(new):
        abort(409, "too many bulk actions are running; wait for one to finish")
    audit(f"{action} all ({new.total})", str(chosen))
    green.spawn(new.run, queue(), monitor().relay.touch)
    return jsonify(new.status())


@bulk.get("/monitor/bulk/<bulk_id>")
def progress(bulk_id: str) -> ResponseReturnValue:
    """The status of a bulk action."""
    return jsonify(_actions().status(bulk_id))


@bulk.delete("/monitor/bulk/<bulk_id>")
def stop(bulk_id: str) -> ResponseReturnValue:
    """Undo a bulk action that has not started, or stop a running one; jobs already processed are not restored."""
    found = _actions().stop(bulk_id)
    audit("stop", f"{found['act']} all")
    return jsonify(found)
