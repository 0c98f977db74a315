"""Helpers for testing programs that create jobs: jobs are collected in a list; no Redis is needed.

In ``conftest.py``, ``pytest_plugins = ["kue.testing"]`` or ``from kue.testing import kue_queue`` provides the fixture
``kue_queue``. For your program's own queue, use the context manager ``collected(queue)`` in a fixture or a test.
Everything but the fixture works without pytest.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from . import create_queue
from .base_job import J
from .client.test_mode import TestMode
from .queue import Queue

#: Nothing listens there: a test that connects by mistake fails and cannot touch real jobs.
NOWHERE = "redis://127.0.0.1:1/0"


class HasTestMode(Protocol[J]):
    """A ``kue.Queue`` or a ``kue.aio.Queue``."""

    test_mode: TestMode[J]


@contextmanager
def collected(queue: HasTestMode[J], process: bool = False) -> Iterator[list[J]]:
    """Yield a list of the jobs saved on ``queue`` (sync or asyncio). With ``process`` they are also created in Redis.

    The list is empty at the start. Afterwards the queue's previous mode is restored.
    """
    mode = queue.test_mode
    before = mode.entered
    mode.clear()
    mode.enter(process)
    try:
        yield mode.jobs
    finally:
        if before is None:
            mode.exit()
        else:
            mode.enter(before)


def collecting_queue() -> Queue:
    """Return a queue without a Redis that collects its jobs in ``queue.test_mode.jobs``."""
    queue = create_queue(NOWHERE)
    queue.test_mode.enter()
    return queue


try:
    import pytest
except ImportError:
    pass
else:

    @pytest.fixture
    def kue_queue() -> Iterator[Queue]:
        """A queue that collects the jobs saved on it in ``kue_queue.test_mode.jobs``, with no Redis behind it."""
        queue = collecting_queue()
        yield queue
        queue.close()
