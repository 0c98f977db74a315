"""What a request is about: the queue and the monitor of the app that answers it, and the job that its path names."""

from __future__ import annotations

import re

from flask import current_app

from kue.errors import JobNotFound
from kue.queue import Queue
from kue.web.live.monitor import Monitor


def queue() -> Queue:
    """Return the queue this app shows."""
    found: Queue = current_app.config["KUE_QUEUE"]
    return found


def monitor() -> Monitor:
    """Return the monitor of the app that answers this request."""
    found: Monitor = current_app.extensions["kue"]
    return found


def parse_id(text: str) -> int:
    """Return a job's id. Raises JobNotFound for what cannot be one: a whole number from 1 to 2^53 - 1."""
    if not re.fullmatch(r"[1-9][0-9]{0,15}", text) or int(text) >= 2**53:
        raise JobNotFound(text[:100])
    return int(text)
