"""What a job has told its listeners."""

from __future__ import annotations

from collections import Counter
from typing import Any


class Heard:
    """The events of one job, counted."""

    def __init__(self, job: Any) -> None:
        self.events: Counter[str] = Counter()
        for event in ("start", "complete", "failed", "failed attempt", "cancel", "ttl exceeded", "enqueue"):
            job.on(event, lambda *args, event=event: self.events.update([event]))
