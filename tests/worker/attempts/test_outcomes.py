"""The stored error of a failure: one sentence if expected, else the traceback of the handler's code."""

from __future__ import annotations

import json
from typing import Any

import pytest

import kue
from kue.downloads import DownloadFailed, DownloadHandler
from kue.queue import Queue
from kue.worker.attempts.outcomes import describe


class CardDeclined(Exception):
    """An expected failure of a user's program."""

    expected = True


@pytest.mark.parametrize(
    "failure",
    [
        CardDeclined("The card was declined"),
        kue.UnrecoverableError("The card was declined"),
        DownloadFailed("The card was declined", status=404),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_an_expected_failure_is_stored_as_its_message(queue: Queue, failure: Exception) -> None:
    @queue.process("pay")
    def pay(job: Any) -> None:
        raise failure

    job = queue.create("pay").save()
    with pytest.raises(kue.JobFailed):
        job.wait(10)
    job.refresh()
    assert job.error == "The card was declined"
    assert queue.log(job.id) == ["The card was declined"]
    (attempt,) = json.loads(job.raw["attempt_log"])
    assert attempt["error"] == "The card was declined" and "stack" not in attempt


def test_a_failure_that_nobody_expected_keeps_the_frames_of_the_handlers_code(queue: Queue) -> None:
    @queue.process("pay")
    def pay(job: Any) -> None:
        job.log("a line")
        queue.create("receipt", {"amount": object()}).save()

    job = queue.create("pay").save()
    with pytest.raises(kue.JobFailed):
        job.wait(10)
    error = job.refresh().error or ""
    head, *frames = error.splitlines()
    assert head.startswith("InvalidJob: not JSON: ")
    assert len(frames) == 2 and "test_outcomes.py" in frames[0] and "in pay" in frames[0]
    assert frames[1].strip() == 'queue.create("receipt", {"amount": object()}).save()'


def test_an_error_of_the_librarys_own_handler_keeps_its_frames() -> None:
    with pytest.raises(AttributeError) as caught:
        DownloadHandler.__call__(None, None)  # type: ignore[arg-type]
    caught.value.__traceback__ = caught.value.__traceback__ and caught.value.__traceback__.tb_next
    assert "downloads/handler.py" in describe(caught.value).error
