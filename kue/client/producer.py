"""Create jobs with group commit: concurrent saves of many threads are combined into one call."""

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
    """A job's position in a call: its id is the call's first id plus ``offset``."""

    call: Call
    offset: int


class Entry:
    """One caller's jobs and their outcome."""

    __slots__ = ("done", "error", "abandoned", "ids", "leads", "owners", "rows")

    def __init__(self, rows: Sequence[Sequence[str]], owners: Sequence[object]) -> None:
        self.rows, self.owners = rows, owners
        self.ids: list[int] = []
        self.error: BaseException | None = None
        self.leads = self.abandoned = False
        #: Set when finished: a ``threading.Event``, for asyncio a future.
        self.done: Any = None


class Producer:
    """Group commit: while one create is in progress, other threads' jobs queue up and are sent with the next.

    Calls go over one lane, one after another and numbered, and Redis remembers the lane's last number. So a call whose
    reply was lost can be repeated without creating anything twice. A caller that gets QueueUnavailable may retry with
    the same jobs: those that were created nevertheless are found by the lane.
    """

    def __init__(self, connector: Connector, scripts: Scripts) -> None:
        self._connector, self._scripts = connector, scripts
        self.begin()

    def begin(self) -> None:
        """Reset, also in a forked child, which must share neither connection nor lane."""
        self._lane = Lane(self._connector, self._scripts, spin=True)
        self._lock = threading.Lock()
        self._waiting: list[Entry] = []
        self._busy = False
        #: Calls that may have created jobs whose callers got QueueUnavailable, while these job objects exist.
        self._unresolved: WeakKeyDictionary[object, _Place] = WeakKeyDictionary()

    def create(self, rows: Sequence[Sequence[str]], owners: Sequence[object] = ()) -> list[int]:
        """Create jobs from arguments of ``create.lua``; return their ids.

        ``owners``: for each row the object that identifies a second try. Raises QueueUnavailable within a bounded time
        if Redis is unreachable.
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
        """Look up the outcome of an earlier try with these jobs; return the ids of those that exist, by position."""
        known: dict[int, int] = {}
        for at, owner in enumerate(owners):
            place = self._unresolved.get(owner)
            if place is None:
                continue
            call = place.call
            if call.first is None:  # an empty call with the same number blocks the one in doubt, should it still arrive
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
            except BaseException:  # this handler is stopped; the others continue
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
        """Send the waiting jobs, `own` first; then pass the lead to the next in line."""
        with self._lock:
            batch = self._take_batch()
        try:
            error = self._send(own, batch)
            if isinstance(error, QueueUnavailable):  # the waiting ones would only time out too
                with self._lock:
                    for entry in self._waiting:
                        entry.error = error
                    batch, self._waiting = batch + self._waiting, []
        except BaseException as exc:  # any error: without an outcome the others would wait forever
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
        """Take the next call's entries from the line, at most ``most`` jobs if possible. Called under the lock."""
        batch: list[Entry] = []
        size = 0
        while self._waiting and (not batch or size + len(self._waiting[0].rows) <= most):
            entry = self._waiting.pop(0)
            batch.append(entry)
            size += len(entry.rows)
        return batch

    def _send(self, own: Entry, batch: Sequence[Entry]) -> Exception | None:
        """Create the jobs of a batch; set each entry's ids or error, and return the error."""
        calls = self._lane.calls([row for entry in batch for row in entry.rows])
        error: Exception | None = None
        try:
            self._lane.perform(calls)
        except Exception as exc:
            error = exc
        except BaseException as exc:  # meant for this caller only; repeat the calls for the others
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
        """Set each entry's ids or error; if its caller does not learn the ids, remember them."""
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
        """Keep the ids of jobs whose caller did not learn them, for a second try with the same jobs."""
        for owner, job_id in zip(owners, ids, strict=True):
            call = Call((), "", 0)
            call.first = job_id
            self._unresolved[owner] = _Place(call, 0)

    def _pass_lead(self) -> None:
        """Pass the lead to the next in line. Called under the lock."""
        if not self._waiting:
            self._busy = False
            return
        following = self._waiting[0]
        following.leads = True
        if following.done is not None:
            following.done.set()
