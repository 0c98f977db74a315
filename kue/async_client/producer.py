"""Create jobs on an event loop with group commit: concurrent saves are combined into one call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from ..client.lane import Lane
from ..client.producer import Entry, Producer
from ..concurrency import bridge
from ..connection.failures import CREATE_IN_DOUBT, unavailable
from ..errors import QueueUnavailable
from ..storage.scripts import CREATE_MAX

#: Concurrent calls: Redis works on one while the tasks of the other continue.
LANES = 2
#: Minimum number of waiting jobs per idle lane to split them: a call costs as much as several jobs.
SHARED_FROM = 16


class AsyncProducer(Producer):
    """Group commit as in Producer. Separate tasks send, each over its lane.

    So cancelling a saving task affects no connection. If its jobs were already being sent, saving them again waits for
    the outcome of the first try.
    """

    def begin(self) -> None:
        super().begin()
        self._lanes = [Lane(self._connector, self._scripts) for _ in range(LANES)]
        self._idle = list(self._lanes)
        self._senders: set[asyncio.Task[None]] = set()
        #: Whether a dispatch is scheduled for the end of this loop iteration.
        self._scheduled = False
        #: Jobs whose saving task was cancelled during the call, until the call ends.
        self._left_behind: WeakKeyDictionary[object, Entry] = WeakKeyDictionary()

    def create(self, rows: Sequence[Sequence[str]], owners: Sequence[object] = ()) -> list[int]:
        for owner in owners if self._left_behind else ():
            entry = self._left_behind.get(owner)
            if entry is not None:
                bridge.wait(asyncio.shield(entry.done))
        return super().create(rows, owners)

    def close(self) -> None:
        """Close the connections after pending saves."""
        while self._waiting or self._senders:
            if self._senders:
                bridge.wait(asyncio.wait(self._senders))
            else:
                bridge.sleep(0)
        for lane in self._lanes:
            lane.disconnect()

    def _join(self, entry: Entry) -> list[int]:
        loop = asyncio.get_running_loop()
        entry.done = loop.create_future()
        self._waiting.append(entry)
        if not self._scheduled and self._idle:
            self._scheduled = True
            loop.call_soon(self._dispatch)
        try:
            bridge.wait(entry.done)
        except BaseException:  # this task is cancelled; the others continue
            self._leave(entry)
            raise
        if entry.error is not None:
            raise entry.error
        return entry.ids

    def _leave(self, entry: Entry) -> None:
        """Remember the jobs of a caller that no longer waits for its reply."""
        if entry.ids:  # the reply has arrived
            self._remember(entry.owners, entry.ids)
        elif entry.error is None and entry not in self._waiting:  # the call is in progress
            entry.done = asyncio.get_running_loop().create_future()
            self._left_behind.update(dict.fromkeys(entry.owners, entry))
        self._forsake(entry)

    def _dispatch(self) -> None:
        """Send the waiting jobs over idle lanes."""
        self._scheduled = False
        waiting, idle = len(self._waiting), len(self._idle)
        share = -(-waiting // idle) if waiting >= SHARED_FROM * idle > 0 else CREATE_MAX
        while self._waiting and self._idle:
            task = asyncio.get_running_loop().create_task(self._send_batch(self._idle.pop(), self._take_batch(share)))
            self._senders.add(task)
            task.add_done_callback(self._senders.discard)

    async def _send_batch(self, lane: Lane, batch: list[Entry]) -> None:
        """Create the jobs of a batch; set each entry's ids or error."""
        calls = lane.calls([row for entry in batch for row in entry.rows])
        error: Exception | None = None
        try:
            await bridge.run(lane.perform, calls)
        except Exception as exc:
            error = exc
        except BaseException as exc:  # the loop is shutting down
            error = unavailable(exc, CREATE_IN_DOUBT)
            raise
        finally:
            if error is not None:
                lane.renew()
            self._assign_ids(batch, calls, error)
            if isinstance(error, QueueUnavailable):  # the waiting ones would only time out too
                for entry in self._waiting:
                    entry.error = error
                batch, self._waiting = batch + self._waiting, []
            for entry in batch:
                for owner in entry.owners if entry.abandoned else ():
                    self._left_behind.pop(owner, None)
                if not entry.done.done():
                    entry.done.set_result(None)
            self._idle.append(lane)
            self._dispatch()
