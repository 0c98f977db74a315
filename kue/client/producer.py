"""Creating jobs with group commit: what many threads save at the same time goes out in one call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..connection.connector import Connector
from ..connection.failures import CREATE_IN_DOUBT, unavailable, with_retries
from ..errors import QueueUnavailable
from ..storage.scripts import CREATE_MAX, Scripts
from .lane import RETRY_S, Call, Lane


class _Place(NamedTuple):
    """Where a job is in a call: its id is the call's first plus ``offset``."""

    call: Call
    offset: int


class Entry:
    """One caller's jobs, and what became of them."""

    __slots__ = ("done", "error", "abandoned", "ids", "leads", "owners", "rows")

    def __init__(self, rows: Sequence[Sequence[str]], owners: Sequence[object]) -> None:
        self.rows, self.owners = rows, owners
        self.ids: list[int] = []
        self.error: BaseException | None = None
        self.leads = self.abandoned = False
        #: Set at its end: a ``threading.Event``, for asyncio a future.
        self.done: Any = None


class Producer:
    """Group commit: while one create is under way, other threads' jobs gather and go out with the next.

    The calls go over one lane, one after another and numbered, and Redis remembers the last number of the lane: so a
    call whose answer was lost can be repeated, and creates nothing twice. A caller that gets QueueUnavailable may try
    again with the same jobs: those that were created all the same are found by the lane.
    """

    def __init__(self, connector: Connector, scripts: Scripts) -> None:
        self._connector, self._scripts = connector, scripts
        self.begin()

    def begin(self) -> None:
        """Start anew, also in a process that was forked: it must share neither connection nor lane."""
        self._lane = Lane(self._connector, self._scripts, spin=True)
        self._lock = threading.Lock()
        self._waiting: list[Entry] = []
        self._busy = False
        #: The calls that may have created jobs whose callers got QueueUnavailable, as long as these jobs live.
        self._unresolved: WeakKeyDictionary[object, _Place] = WeakKeyDictionary()

    def create(self, rows: Sequence[Sequence[str]], owners: Sequence[object] = ()) -> list[int]:
        """Create jobs given as the values of ``create.lua``; return their ids.

        ``owners``: for each row the object by which a second try is recognised. Raises QueueUnavailable within a
        bounded time if Redis is unreachable.
        """
        known = self._settle(owners) if self._unresolved else {}
        if not known:
            return self._join(Entry(rows, owners))
        left = [at for at in range(len(rows)) if at not in known]
        if left:
            ids = self._join(Entry([rows[at] for at in left], [owners[at] for at in left]))
            known.update(zip(left, ids, strict=True))
        for owner in owners:
            self._unresolved.pop(owner, None)
        return [known[at] for at in range(len(rows))]

    def close(self) -> None:
        self._lane.disconnect()

    def _settle(self, owners: Sequence[object]) -> dict[int, int]:
        """Ask what became of an earlier try with these jobs; return the ids of those that exist, by position."""
        known: dict[int, int] = {}
        for at, owner in enumerate(owners):
            place = self._unresolved.get(owner)
            if place is None:
                continue
            call = place.call
            if call.first is None:  # a call without jobs shuts out the one in doubt, if that is still on its way
                call.first = with_retries(
                    lambda call=call: self._scripts.create(  # type: ignore[misc]
                        self._connector.shared(), [], lane=call.lane, sequence=call.sequence
                    ),
                    RETRY_S,
                    in_doubt=CREATE_IN_DOUBT,
                )
            if call.first:
                known[at] = call.first + place.offset
        return known

    def _join(self, entry: Entry) -> list[int]:
        with self._lock:
            self._waiting.append(entry)
            if self._busy:
                entry.done = threading.Event()
            else:
                self._busy = entry.leads = True
        if entry.done is not None:
            try:
                entry.done.wait()
            except BaseException:  # its handler is stopped; the others go on
                self._forsake(entry)
                raise
        if entry.leads:
            self._lead(entry)
        if entry.error is not None:
            raise entry.error
        return entry.ids

    def _forsake(self, entry: Entry) -> None:
        with self._lock:
            entry.abandoned = True
            if entry in self._waiting:
                self._waiting.remove(entry)
                if entry.leads:
                    self._pass_lead()

    def _lead(self, own: Entry) -> None:
        """Send what has gathered, `own` first; then let the next in line lead."""
        with self._lock:
            batch = self._take_batch()
        try:
            error = self._send(own, batch)
            if isinstance(error, QueueUnavailable):  # the others that wait would only wait as long again
                with self._lock:
                    for entry in self._waiting:
                        entry.error = error
                    batch, self._waiting = batch + self._waiting, []
        except BaseException as exc:  # whatever it is: without an answer the others would wait for ever
            for entry in batch:
                if entry is not own and not entry.ids and entry.error is None:
                    entry.error = unavailable(exc, CREATE_IN_DOUBT)
            raise
        finally:
            with self._lock:
                self._pass_lead()
            for entry in batch:
                if entry is not own and entry.done is not None:
                    entry.done.set()

    def _take_batch(self, most: int = CREATE_MAX) -> list[Entry]:
        """Take from the line what one call creates, at most ``most`` jobs if it can be; called under the lock."""
        batch: list[Entry] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].rows) <= most):
            entry = self._waiting.pop(0)
            batch.append(entry)
            size += len(entry.rows)
        return batch

    def _send(self, own: Entry, batch: Sequence[Entry]) -> Exception | None:
        """Create the jobs of a batch and give each entry its ids or the error, which is returned."""
        calls = self._lane.calls([row for entry in batch for row in entry.rows])
        error: Exception | None = None
        try:
            self._lane.perform(calls)
        except Exception as exc:
            error = exc
        except BaseException as exc:  # meant for this caller alone; for the others the same calls are made again
            own.error = exc
            try:
                self._lane.perform(calls)
            except Exception as again:
                error = again
            except BaseException as again:
                error = unavailable(again, CREATE_IN_DOUBT)
        if error is not None:
            self._lane.renew()
        with self._lock:
            self._assign_ids(batch, calls, error)
        return error

    def _assign_ids(self, batch: Sequence[Entry], calls: Sequence[Call], error: Exception | None) -> None:
        """Give each entry its ids or the error; if its caller does not learn where its jobs are, remember it."""
        places = [_Place(call, offset) for call in calls for offset in range(len(call.rows))]
        at = 0
        for entry in batch:
            mine = places[at : at + len(entry.rows)]
            at += len(entry.rows)
            entry.error = entry.error or error
            if entry.error is None:
                entry.ids = [(place.call.first or 0) + place.offset for place in mine]
            if (entry.error is not None or entry.abandoned) and entry.owners:
                self._unresolved.update(
                    {owner: place for owner, place in zip(entry.owners, mine, strict=True) if place.call.tried}
                )

    def _remember(self, owners: Sequence[object], ids: Sequence[int]) -> None:
        """Keep the ids of jobs whose caller does not learn them, for the next try with the same jobs."""
        for owner, job_id in zip(owners, ids, strict=True):
            call = Call((), "", 0)
            call.first = job_id
            self._unresolved[owner] = _Place(call, 0)

    def _pass_lead(self) -> None:
        """Let the next in line lead; called under the lock."""
        if not self._waiting:
            self._busy = False
            return
        following = self._waiting[0]
        following.leads = True
        if following.done is not None:
            following.done.set()
