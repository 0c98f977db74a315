"""The current request's queue and monitor, and the job id in its path."""

from __future__ import annotations

import re

from flask import current_app

from kue.errors import JobNotFound
from kue.queue import Queue
from kue.web.live.monitor import Monitor


def queue() -> Queue:
    """Return the queue of the current app."""
    found: Queue = current_app.config["KUE_QUEUE"]
    return found


def monitor() -> Monitor:
    """Return the monitor of the current app."""
    found: Monitor = current_app.extensions["kue"]
    return found


def parse_id(text: str) -> int:
    """Return a job's id. Raises JobNotFound unless it is a whole number from 1 to 2^53 - 1."""
    if not re.fullmatch(r"[1-9][0-9]{0,15}", text) or int(text) >= 2**53:
        raise JobNotFound(text[:100])
    return int(text)
