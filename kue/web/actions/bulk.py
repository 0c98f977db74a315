"""Acts on all jobs of a list: counted, undoable for some seconds, then carried out in chunks with progress to watch."""

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
from kue.web.actions.bulk_progress import Board
from kue.web.errors import error_response
from kue.web.live.current import monitor, queue
from kue.web.pages.search import MAX_QUERY, matching

if TYPE_CHECKING:
    from kue.queue import Queue

bulk = Blueprint("bulk", __name__)
log = logging.getLogger("kue.web")

#: Seconds in which a bulk act can be undone.
UNDO_S = 5.0
#: Jobs between two looks whether somebody said stop.
CHUNK = 100
#: Seconds between two looks while there is time to undo.
LOOK_S = 0.5
#: Bulk acts that are remembered, and how many may wait or run at once.
KEPT, AT_ONCE = 50, 5
#: From which states each act takes jobs.
STATES_OF = {
    "retry": ("failed",),
    "promote": ("delayed",),
    "remove": ("inactive", "delayed", "failed", "complete"),
}


class BulkView(TypedDict):
    """How far a bulk act is."""

    id: str
    act: str
    total: int
    done: int
    skipped: int
    """Jobs that had moved on or were gone when their turn came."""
    phase: str
    """waiting, running, done, undone, stopped or failed"""
    starts_in_ms: int
    error: str | None


class Wanted(NamedTuple):
    """The jobs that a bulk act is for: in these states, of a type, and found by words; "" is any."""

    states: tuple[str, ...]
    job_type: str
    words: str

    def __str__(self) -> str:
        found = f" found by {self.words!r}" if self.words else ""
        kind = f"type {self.job_type!r}" if self.job_type else "every type"
        return f"{' or '.join(self.states)} jobs{found} of {kind}"

    def ids(self, queue: Queue) -> list[int | str]:
        """Read which they are."""
        if self.words:
            return matching(queue, self.words, self.states, self.job_type)
        return [job_id for state in self.states for job_id in queue.ids(state, self.job_type or None)]

    def count(self, queue: Queue) -> int:
        """Return how many they are."""
        if self.words:
            return len(self.ids(queue))
        counts = queue.counts(self.job_type or None)
        return sum(counts[state] for state in self.states)


class Bulk:
    """One act on the jobs that were in a list when it was asked for."""

    def __init__(self, board: Board, act: str, states: tuple[str, ...], ids: list[int | str]) -> None:
        self.board = board
        self.id = secrets.token_hex(8)
        self.act, self.states, self.ids = act, states, ids
        self.total = len(ids)
        self.done = self.skipped = 0
        self.phase = "waiting"
        self.error: str | None = None
        self.begins_at = time.monotonic() + UNDO_S
        self.stopped = threading.Event()

    def view(self) -> BulkView:
        left = max(0, int((self.begins_at - time.monotonic()) * 1000))
        return {
            "id": self.id, "act": self.act, "total": self.total, "done": self.done, "skipped": self.skipped,
            "phase": self.phase, "starts_in_ms": left if self.phase == "waiting" else 0, "error": self.error,
        }  # fmt: skip

    def run(self, queue: Queue, touch: Callable[[list[int | str]], None]) -> None:
        """Wait for the time to undo, then go through the jobs. Ends in one of the final phases, whatever happens."""
        try:
            while (left := self.begins_at - time.monotonic()) > 0:
                if self._told_to_stop() or self.stopped.wait(min(left, LOOK_S)):
                    self.phase = "undone"
                    return
            self.phase = "running"
            for at in range(0, self.total, CHUNK):
                if self._told_to_stop():
                    self.phase = "stopped"
                    return
                chunk = self.ids[at : at + CHUNK]
                for job_id in chunk:
                    self._one(queue, job_id)
                touch(chunk)
            self.phase = "done"
        except QueueUnavailable:
            self.phase, self.error = "failed", "Redis does not answer"
        except Exception:
            log.exception("bulk %s failed", self.act)
            self.phase, self.error = "failed", "the server met an error"
        finally:
            self.ids = []
            with contextlib.suppress(QueueUnavailable):
                self.board.write(self.view())

    def _told_to_stop(self) -> bool:
        """Tell how far it is, and hear whether somebody said stop, here or in another web process."""
        return self.board.write(self.view()) or self.stopped.is_set()

    def _one(self, queue: Queue, job_id: int | str) -> None:
        try:
            if self.act == "retry":
                queue.retry(job_id)
            elif self.act == "promote":
                queue.promote(job_id)
            else:
                # A job that a worker took meanwhile is not what was to be removed.
                if queue.get(job_id).state not in self.states:
                    self.skipped += 1
                    return
                queue.remove(job_id)
            self.done += 1
        except (JobNotFound, WrongState):
            self.skipped += 1


class Bulks:
    """The bulk acts that this process does."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self._all: OrderedDict[str, Bulk] = OrderedDict()

    def add(self, new: Bulk) -> bool:
        """Remember a bulk act; False if too many are under way."""
        if sum(each.phase in ("waiting", "running") for each in self._all.values()) >= AT_ONCE:
            return False
        self._all[new.id] = new
        while len(self._all) > KEPT:
            self._all.popitem(last=False)
        return True

    def view(self, bulk_id: str) -> BulkView:
        """Return how far a bulk act of whatever process is, or answer 404."""
        here = self._all.get(bulk_id)
        found: BulkView | None = here.view() if here is not None else self.board.read(bulk_id)
        if found is None:
            abort(error_response(404, "there is no such bulk act, or it is long over"))
        return found

    def stop(self, bulk_id: str) -> BulkView:
        """End a bulk act of whatever process; return how far it was, or answer 404."""
        found = self.view(bulk_id)
        if bulk_id in self._all:
            self._all[bulk_id].stopped.set()
        else:
            self.board.ask_stop(bulk_id)
        return found


def _bulks() -> Bulks:
    kept = current_app.extensions
    if "kue_bulks" not in kept:
        kept["kue_bulks"] = Bulks(Board(queue()))
    found: Bulks = kept["kue_bulks"]
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _wanted(allowed: Collection[str], asked: Mapping[str, object]) -> Wanted:
    """Return the jobs that ``{state, type}`` or ``{q}`` (or all three) mean, of the allowed states; or answer 400."""
    state, job_type, words = (_text(asked.get(name)) for name in ("state", "type", "q"))
    words = words.strip()[:MAX_QUERY]
    if not allowed or state not in ("", *allowed) or not (state or words):
        abort(400, "this act does not go with that state" if allowed else "act is one of " + ", ".join(STATES_OF))
    return Wanted((state,) if state else tuple(allowed), job_type, words)


@bulk.get("/monitor/bulk/preview")
def preview() -> ResponseReturnValue:
    """Count the jobs that an act on this list, or on all that a search finds (``q``), would meet."""
    act = request.args.get("act")
    wanted = _wanted(STATES if act is None else STATES_OF.get(act, ()), request.args)
    return jsonify({"total": wanted.count(queue())})


@bulk.post("/monitor/bulk")
def begin() -> ResponseReturnValue:
    """Take on ``{act, state, type}`` or ``{act, q}``; it begins after the time to undo. Answers its view, with its id.

    With ``q`` alone it is for all jobs that the search finds, in whatever state the act goes with.
    """
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict):
        abort(400, "send {act, state, type} or {act, q} as JSON")
    act = _text(asked.get("act"))
    wanted = _wanted(STATES_OF.get(act, ()), asked)
    new = Bulk(_bulks().board, act, wanted.states, wanted.ids(queue()))
    if not _bulks().add(new):
        abort(409, "too many bulk acts are under way: wait for one to end")
    audit(f"{act} all ({new.total})", str(wanted))
    green.spawn(new.run, queue(), monitor().relay.touch)
    return jsonify(new.view())


@bulk.get("/monitor/bulk/<bulk_id>")
def progress(bulk_id: str) -> ResponseReturnValue:
    """Tell how far a bulk act is."""
    return jsonify(_bulks().view(bulk_id))


@bulk.delete("/monitor/bulk/<bulk_id>")
def stop(bulk_id: str) -> ResponseReturnValue:
    """Undo a bulk act that has not begun, or stop one that runs; what is done stays done."""
    found = _bulks().stop(bulk_id)
    audit("stop", f"{found['act']} all")
    return jsonify(found)
