"""Logging an attempt never changes how it ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from kue.queue import Queue


@pytest.fixture
def broken_filter() -> Iterator[None]:
    def fail(record: logging.LogRecord) -> bool:
        raise RuntimeError("an application's filter failed")

    loggers = [logging.getLogger(name) for name in ("kue.jobs", "kue.jobs.completed")]
    for logger in loggers:
        logger.addFilter(fail)
    loggers[1].setLevel(logging.INFO)
    yield
    for logger in loggers:
        logger.removeFilter(fail)
    loggers[1].setLevel(logging.NOTSET)


@pytest.mark.usefixtures("broken_filter")
def test_a_filter_that_fails_fails_no_job(queue: Queue) -> None:
    ran = []

    def work(job: object) -> str:
        ran.append(job)
        if len(ran) == 1:
            raise ValueError("once")
        return "done"

    queue.process("work", 1, work)
    assert queue.create("work").attempts(2).save().wait(10) == "done"
    assert len(ran) == 2
