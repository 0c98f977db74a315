"""The status of bulk actions in Redis, so that any web process can report and stop them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kue.queue import Queue

#: Seconds that a status is kept after its last update.
KEPT_S = 3600
#: Seconds without an update after which the process that runs the action is considered dead.
STALE_S = 30.0
#: Phases of an action that is not finished.
OPEN = ("waiting", "running")


class BulkStatusStore:
    """The statuses of one queue: a string per action, ``q:bulk:ID``, and ``q:bulk:ID:stop`` to stop it."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def write(self, status: Any) -> bool:
        """Store a status; return whether a stop was requested."""
        key, text = self._queue.keys.bulk(status["id"]), json.dumps({**status, "at": time.time()})

        def call(client: Any) -> Any:
            pipe = client.pipeline(transaction=False)
            pipe.set(key, text, ex=KEPT_S)
            pipe.exists(key + ":stop")
            return pipe.execute()

        return bool(self._queue.session.call(call)[1])

    def read(self, bulk_id: str) -> Any:
        """Return the status of an action, None if there is none. It has failed if its process died."""
        text = self._queue.session.call(lambda client: client.get(self._queue.keys.bulk(bulk_id)))
        if text is None:
            return None
        status = json.loads(text)
        if time.time() - status.pop("at") > STALE_S and status["phase"] in OPEN:
            status.update(phase="failed", starts_in_ms=0, error="the web process that ran it has exited")
        return status

    def ask_stop(self, bulk_id: str) -> None:
        """Ask the process that runs an action to stop. It checks before each chunk and while it waits."""
        key = self._queue.keys.bulk(bulk_id) + ":stop"
        self._queue.session.call(lambda client: client.set(key, "1", ex=KEPT_S))
