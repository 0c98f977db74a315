"""Waiting for the end of a job."""

from __future__ import annotations

import threading
import time
from typing import Any

from ..errors import InvalidJob, JobFailed, JobNotFound, WaitTimeout
from ..job import Job
from ..states import FAILED
from .events import Listener, first_line

#: Seconds between two looks at a job that somebody waits for, in case its event was lost: first, and at most.
WAIT_LOOK_FIRST_S, WAIT_LOOK_S = 1.0, 5.0


def wait_for(job: Job, listener: Listener, timeout_s: float | None) -> Any:
    """Wait for the end of a job: by its events, and by a look now and then, since an event can be lost."""
    job_id = job.id
    if job_id is None:
        raise InvalidJob("the job is not saved yet: call save() first")
    ended = threading.Event()
    said: list[tuple[Any, ...]] = []

    def heard(event: str, *args: Any) -> None:
        if event in ("complete", "failed", "remove"):
            said.append((event, *args))
        if event in ("complete", "failed", "remove", "resync"):
            ended.set()

    give_up = None if timeout_s is None else time.monotonic() + timeout_s
    look_s = WAIT_LOOK_FIRST_S
    with listener.waiting(job_id, heard):
        while True:
            if not said:
                job.refresh()
                if job.state == "complete":
                    return job.result
                if job.state == FAILED:
                    raise JobFailed(job_id, first_line(job.error))
            left = None if give_up is None else give_up - time.monotonic()
            if left is not None and left <= 0 and not said:
                raise WaitTimeout(job_id, timeout_s or 0)
            ended.wait(look_s if left is None else max(0.0, min(left, look_s)))
            ended.clear()
            look_s = min(2 * look_s, WAIT_LOOK_S)
            for event, *args in said:
                if event == "complete":
                    return args[0] if args else None
                if event == "failed":
                    raise JobFailed(job_id, str(args[0]) if args else "")
                raise JobNotFound(job_id)
