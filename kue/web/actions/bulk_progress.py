"""Where bulk acts tell how far they are, so that any web process over one Redis can answer for them and stop them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kue.queue import Queue

#: Seconds that an act stays on the board after its last word.
KEPT_S = 3600
#: Seconds without a word after which the process that did it is taken for ended.
SILENT_S = 30.0
#: Phases in which there is more to come.
OPEN = ("waiting", "running")


class Board:
    """The board of one queue: a string for each act, ``q:bulk:ID``, and ``q:bulk:ID:stop`` once somebody said stop."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def write(self, view: Any) -> bool:
        """Put up how far an act is; return whether it was told to stop."""
        key, text = self._queue.keys.bulk(view["id"]), json.dumps({**view, "at": time.time()})

        def call(client: Any) -> Any:
            pipe = client.pipeline(transaction=False)
            pipe.set(key, text, ex=KEPT_S)
            pipe.exists(key + ":stop")
            return pipe.execute()

        return bool(self._queue.session.call(call)[1])

    def read(self, bulk_id: str) -> Any:
        """Return the view of an act, None if there is no such act. One that its process left unfinished has failed."""
        text = self._queue.session.call(lambda client: client.get(self._queue.keys.bulk(bulk_id)))
        if text is None:
            return None
        view = json.loads(text)
        if time.time() - view.pop("at") > SILENT_S and view["phase"] in OPEN:
            view.update(phase="failed", starts_in_ms=0, error="the process that did it has ended")
        return view

    def ask_stop(self, bulk_id: str) -> None:
        """Tell whoever does the act to stop; it looks before each chunk, and twice a second while it waits."""
        key = self._queue.keys.bulk(bulk_id) + ":stop"
        self._queue.session.call(lambda client: client.set(key, "1", ex=KEPT_S))
