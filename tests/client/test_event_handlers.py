"""Event handlers run in a separate thread: slow ones delay nothing else, and they may call anything."""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any

import pytest

from kue.client import handler_thread
from kue.client.events import parse
from kue.connection.subscription import Subscription
from tests.support import wait_until

#: A handler's time here, and a bound far below it for what must not wait for it.
SLOW_S, AT_ONCE_S = 3.0, 1.5


def test_a_slow_handler_holds_up_no_other_call(queue: Any) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*args: object) -> None:
        begun.set()
        go_on.wait(SLOW_S)

    queue.on("job enqueue", slow)
    queue.process("a", 1, lambda job: "done")
    queue.create("other").save()
    assert begun.wait(5)
    began_at = time.monotonic()
    job = queue.create("a").on("complete", lambda *args: None).save()
    assert job.wait(5) == "done"
    queue.on("job failed", lambda *args: None)
    queue.subscribe(lambda event: None)()
    assert time.monotonic() - began_at < AT_ONCE_S
    go_on.set()


def test_a_handler_may_save_wait_and_listen(queue: Any) -> None:
    results: list[Any] = []

    def follow(job_id: int, result: Any, *args: Any) -> None:
        if not results:
            results.append(None)
            queue.on("job failed", lambda *args: None)
            job = queue.create("second").on("complete", lambda result, *args: results.append(result))
            results[0] = job.save().wait(5)

    queue.process("first", 1, lambda job: 1)
    queue.process("second", 1, lambda job: 2)
    queue.on("job complete", follow)
    queue.create("first").save()
    wait_until(lambda: results == [2, 2], 5)


def test_order_is_kept_and_captured_events_come_first(queue: Any) -> None:
    heard: list[str] = []
    queue.process("a", 1, lambda job: [job.progress(each, 3) for each in (1, 2, 3)] and None)
    job = queue.create("a").remove_on_complete(False)
    for event in ("enqueue", "start", "progress", "complete"):
        job.on(event, lambda *args, event=event: heard.append(f"{event}{args[0] if event == 'progress' else ''}"))
    job.save()
    wait_until(lambda: "complete" in heard, 5)
    assert heard == ["enqueue", "start", "progress33", "progress66", "progress100", "complete"]


def test_after_unsubscribing_a_handler_is_not_called_for_what_is_waiting(queue: Any) -> None:
    begun, go_on, heard, last = threading.Event(), threading.Event(), [], threading.Event()

    def slow(event: Any) -> None:
        heard.append(event.id)
        begun.set()
        go_on.wait(5)

    unsubscribe = queue.subscribe(slow)
    queue.on("job enqueue", lambda job_id, *args: last.set() if job_id == 2 else None)
    queue.create("a").save()
    assert begun.wait(5)
    queue.create("a").save()
    wait_until(lambda: len(queue._store.listener._handlers._calls) >= 2, 5)
    unsubscribe()
    go_on.set()
    assert last.wait(5)
    assert heard == [1]


def test_a_handler_that_calls_exit_ends_nothing(queue: Any) -> None:
    heard: list[int] = []
    queue.on("job enqueue", lambda *args: sys.exit(1))
    queue.on("job enqueue", lambda job_id, *args: heard.append(job_id))
    queue.create("a").save()
    queue.create("a").save()
    wait_until(lambda: heard == [1, 2], 5)


def test_a_backlog_is_bounded_and_ends_with_a_resync(
    queue: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handler_thread, "BACKLOG_MAX", 10)
    go_on, heard = threading.Event(), []

    def slow(event: Any) -> None:
        go_on.wait(10)
        heard.append(event.event)

    queue.subscribe(slow)
    with caplog.at_level(logging.WARNING, "kue.events"):
        queue.create_many([{"type": "a"}] * 100)
        wait_until(lambda: "too slow" in caplog.text, 5)
    go_on.set()
    wait_until(lambda: "resync" in heard, 5)
    assert len(heard) <= 20  # of 100
    queue.create("a").save()
    wait_until(lambda: heard[-1] == "enqueue", 5)


DEEP = "[" * 500 + "]" * 500


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("[NaN,Infinity,-Infinity,1e999]", [None, None, None, None]),
        (f"[{'9' * 5000}]", []),
        (f"[{DEEP}]", []),
        (f"[{'[' * 100_000}]", []),
        ('["\\ud800"]', ["?"]),
        ('["\\ud83d\\ude00"]', ["\U0001f600"]),
        ("5", []),
        ("[1", []),
    ],
)
def test_arguments_that_cannot_be_passed_on_do_no_harm(args: str, expected: list[Any]) -> None:
    event = parse(f'{{"id":1,"event":"x","args":{args}}}')
    assert event is None or event.args == expected


@pytest.mark.parametrize(
    "message",
    ["", "5", "[1]", "null", '{"id":true,"event":"x"}', '{"id":NaN,"event":"x"}', '{"id":1}', '{"event":"x"}',
     '{"id":"\\ud800","event":"x"}', '{"id":1,"event":5}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_event_is_none(message: str) -> None:
    assert parse(message) is None


def test_an_id_of_thousands_of_digits_is_text() -> None:
    event = parse('{"id":' + "9" * 5000 + ',"event":"x","args":["x"]}')
    assert event is not None and event.id == "9" * 5000


def test_a_bad_message_stops_no_subscription(queue: Any, redis_client: Any) -> None:
    heard: list[Any] = []
    queue.subscribe(lambda event: heard.append((event.id, event.args)))
    for message in ("{", '{"id":' + "9" * 5000 + ',"event":"x","args":[]}', "[" * 100_000):
        redis_client.publish("q:events", message)
    queue.create("a").save()
    wait_until(lambda: heard and heard[-1][0] == 1, 5)
    assert not [each for each in heard if each[0] is None]  # no "resync": the subscription is the same


def test_wait_gives_up_when_its_time_is_over_and_not_before(queue: Any) -> None:
    job = queue.create("a").save()
    listener = queue._store.listener
    threading.Timer(0.1, lambda: listener._resync()).start()  # used to cost all of one look
    began_at = time.monotonic()
    with pytest.raises(TimeoutError):
        job.wait(0.7)
    assert 0.6 < time.monotonic() - began_at < 5


def test_a_subscription_that_begins_after_its_caller_went_on_says_so(
    queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a Redis that confirms late
    confirms, run = threading.Event(), Subscription._run
    monkeypatch.setattr(Subscription, "_run", lambda self: (confirms.wait(10), run(self)))
    monkeypatch.setattr("kue.client.events.UNREQUIRED_S", 0.01)
    heard: list[str] = []
    queue.subscribe(lambda event: heard.append(event.event), required=False)
    # When it does, the caller is told that events may have passed
    confirms.set()
    wait_until(lambda: "resync" in heard, 5)
