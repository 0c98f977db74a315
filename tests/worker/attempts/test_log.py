"""Logging an attempt never changes how it ended."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from kue.queue import Queue
from tests.support import wait_until


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
def test_a_failing_log_filter_fails_no_job(queue: Queue) -> None:
    ran = []

    def work(job: object) -> str:
        ran.append(job)
        if len(ran) == 1:
            raise ValueError("once")
        return "done"

    queue.process("work", 1, work)
    assert queue.create("work").attempts(2).save().wait(10) == "done"
    assert len(ran) == 2


def test_a_cancelled_attempt_is_logged_by_its_worker(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    started, messages = threading.Event(), []

    def work(job: Any) -> None:
        started.set()
        while True:
            job.log("at work")
            time.sleep(0.01)

    queue.process("work", 1, work)
    with caplog.at_level(logging.INFO, "kue.jobs"):
        job = queue.create("work").save()
        assert started.wait(10)
        queue.cancel(job.id)
        wait_until(lambda: "stopping its handler" in caplog.text)
    messages = [record.getMessage() for record in caplog.records if record.name == "kue.jobs"]
    assert len(messages) == 1 and re.fullmatch(
        rf"Job {job.id} \(work\) was cancelled after .+; stopping its handler", messages[0]
    )
    assert caplog.records[-1].levelno == logging.WARNING


def test_a_child_that_failed_for_good_names_its_parents(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    def work(job: Any) -> None:
        raise ValueError("no")

    queue.process("work", 1, work)
    parent = queue.create("parent").after([queue.create("work").attempts(2)]).save()
    with caplog.at_level(logging.INFO, "kue.jobs"):
        wait_until(lambda: parent.refresh().state == "failed")
        wait_until(lambda: "not be retried" in caplog.text)
    first, last = [record.getMessage() for record in caplog.records if record.name == "kue.jobs"]
    assert first.endswith("Retrying now.") and last.endswith(f"not be retried. Waiting for it: job {parent.id}.")


def test_a_timed_out_attempt_says_when_it_runs_again(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    def work(job: Any) -> str:
        while job.attempts_made == 0:
            job.log("at work")
            time.sleep(0.01)
        return "done"

    queue.process("work", 1, work)
    with caplog.at_level(logging.INFO, "kue.jobs"):
        job = queue.create("work").attempts(2).backoff({"type": "fixed", "delay": 50}).ttl(100).save()
        assert job.wait(20) == "done"
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "kue.jobs"]
    line = f"Job {job.id} (work) timed out (ttl exceeded), attempt 1 of 2. Retrying in 50 ms."
    assert ("WARNING", line) in told
