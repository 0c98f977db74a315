"""Wrong, missing, late and repeated arguments of public calls: each error names the argument and the remedy."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

import kue
import kue.aio
from kue.queue import Queue
from tests.support import ROOT, free_port
from tests.support.loops import run

WRONG: dict[str, tuple[Callable[[Queue], Any], str]] = {
    "empty type": (lambda queue: queue.create(""), 'type must be a non-empty string such as "email"'),
    "type None": (lambda queue: queue.create(None), 'type must be a non-empty string such as "email"'),  # type: ignore[arg-type]
    "process without a type": (lambda queue: queue.process("", 1, print), "type must be a non-empty string"),
    "pause without a type": (lambda queue: queue.pause(""), "type must be a non-empty string"),
    "async handler with done": (lambda queue: queue.process("a", 1, coroutine), "an async handler takes (job)"),
    "unknown event of a job": (lambda queue: queue.create("a").on("done", print), "its events are enqueue, start"),
    "event handler of a job": (lambda queue: queue.create("a").on("complete", 5), "must be a function, not 5"),  # type: ignore[arg-type]
    "event handler of a queue": (lambda queue: queue.on("job complete", None), "must be a function, not None"),  # type: ignore[arg-type]
    "subscriber": (lambda queue: queue.subscribe("x"), "must be a function, not 'x'"),  # type: ignore[arg-type]
    "timeout as text": (lambda queue: queue.create("a").save().wait("10"), "timeout_s must be a number of seconds"),  # type: ignore[arg-type]
    "negative timeout": (lambda queue: queue.create("a").save().wait(-1), "timeout_s must be a number of seconds"),
    "shutdown timeout": (lambda queue: queue.shutdown("5"), "timeout_s must be a number of seconds"),  # type: ignore[arg-type]
    "create_many of numbers": (lambda queue: queue.create_many([5]), 'mappings with a "type", not 5'),  # type: ignore[list-item]
    "create_many of one job": (lambda queue: queue.create_many({"type": "a"}), "takes a list of jobs or mappings"),
    "event of a job at a queue": (lambda queue: queue.on("complete", print), 'write "job complete"'),
    "search keys": (lambda queue: queue.create("a").search_keys(5), "search keys must be names"),  # type: ignore[arg-type]
    "id None": (lambda queue: queue.get(None), "from 1 to 2^53-1, not None"),  # type: ignore[arg-type]
    "RetryLater": (lambda queue: kue.RetryLater("soon"), "or a timedelta, not 'soon'"),  # type: ignore[arg-type]
    "a type for another encoding": (lambda queue: queue.create("\ud800"), "a job's type is not valid Unicode"),
    "title": (lambda queue: queue.create("a", title=5), 'title must be a string such as "Welcome mail", not 5'),
    "lease": (lambda queue: kue.create_queue(lease_ms=0), "lease_ms must be at least 100 ms, not 0"),
    "search": (lambda queue: kue.create_queue(search="yes"), "search must be True, False, or a function"),  # type: ignore[arg-type]
    "backoff": (lambda queue: queue.backoff("gentle", 5), "a backoff must be a function, not 5"),  # type: ignore[arg-type]
    "concurrency of a decorator": (lambda queue: queue.process("a", 0), "concurrency must be a whole number, 1 or"),
    "type of a decorator": (lambda queue: queue.process(5), "type must be a non-empty string"),  # type: ignore[call-overload]
    "isolation of a task": (lambda queue: queue.task("a", isolation="thread"), 'isolation must be "process"'),
    "memory limit of a task": (
        lambda queue: queue.task("a", isolation="process", memory_limit="much"), "memory_limit must be a number of",
    ),
    "task that is no function": (lambda queue: queue.task("a")(5), "a task must be a function, not 5"),  # type: ignore[arg-type]
    "work on one number": (lambda queue: queue.work(5), 'only must be a list such as ["email"], not 5'),  # type: ignore[arg-type]
    "unlimit by a path": (lambda queue: queue.unlimit("a", by="data.host"), "by must be True (the limit by key)"),  # type: ignore[arg-type]
    "after an id": (lambda queue: queue.create("a").after(5), "jobs must be a list such as [queue.create(…)], not 5"),  # type: ignore[arg-type]
    "chain of a list": (lambda queue: queue.chain([queue.create("a")]), "chain(first, second); not [<Job a, not"),  # type: ignore[arg-type]
    "chain of a saved job": (lambda queue: queue.chain(queue.create("a").save()), "chain takes new jobs of this queue"),
    "batch with a saved job": (
        lambda queue: queue.batch([queue.create("a")], then=queue.create("a").save()), "then must be a new job",
    ),
    "batch with one job as both": (lambda queue: batch_of_one(queue), "then and always must be two different jobs"),
    "children of an unsaved job": (lambda queue: queue.create("a").add_children([]), "not saved yet"),
    "slots of an unknown worker": (
        lambda queue: queue.set_slots("nobody", "a", 1), "no worker 'nobody'; queue.workers() lists the names",
    ),
    "schedules that are none": (lambda queue: queue.declare_schedules([5]), "must be a kue.Schedule(name, type"),  # type: ignore[list-item]
    "one schedule": (lambda queue: queue.declare_schedules(None), "schedules must be a list such as [kue.Schedule("),  # type: ignore[arg-type]
    "alert in percent": (lambda queue: kue.AlertRules(failure_rate="20%"), "failure_rate must be a percentage"),  # type: ignore[arg-type]
    "alert below zero": (lambda queue: kue.AlertRules(disk_free=-1), "disk_free must be a number of bytes, or None"),
    "ranks": (lambda queue: queue.range("0", 9), "start must be a whole number, not '0'; -1 is the last one"),  # type: ignore[arg-type]
    "ids": (lambda queue: queue.get_many(5), "job_ids must be a list such as [1, 2], not 5"),  # type: ignore[arg-type]
    "words": (lambda queue: queue.search(5), 'text must be a string such as "welcome mail", not 5'),  # type: ignore[arg-type]
    "progress as text": (lambda queue: queue.create("a").save().progress("5"), "done must be a number"),  # type: ignore[arg-type]
    "progress before save": (lambda queue: queue.create("a").progress(1), "not saved yet"),
    "log before save": (lambda queue: queue.create("a").log("x"), "not saved yet"),
}


def batch_of_one(queue: Queue) -> object:
    last = queue.create("b")
    return queue.batch([queue.create("a")], then=last, always=last)


async def coroutine(job: Any, done: Any) -> None:
    pass


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_argument_is_named(queue: Queue, name: str) -> None:
    call, said = WRONG[name]
    with pytest.raises(kue.InvalidJob) as caught:
        call(queue)
    assert said in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "a b", "a\n", " ", "{a", 5])
def test_a_malformed_prefix_is_refused(redis_url: str, prefix: Any) -> None:
    with pytest.raises(kue.InvalidJob, match="prefix"):
        kue.create_queue(redis_url, prefix)


@pytest.mark.parametrize("url", ["localhost:6379", "localhost", "10.0.0.1:6380/2"])
def test_a_url_without_its_scheme_is_proposed_with_it(url: str) -> None:
    with pytest.raises(ValueError, match=f"write redis://{url}$"):
        kue.create_queue(url)


def test_an_asyncio_client_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="kue.aio.create_queue"):
        kue.create_queue(redis.asyncio.Redis())


def test_a_queue_is_a_context_manager_and_processes_nothing_afterwards(redis_url: str) -> None:
    with kue.create_queue(redis_url) as queue:
        queue.process("a", 1, lambda job: job.data)
        assert queue.create("a", 0).save().wait(10) == 0
    with pytest.raises(kue.KueError, match="was shut down"):
        queue.process("b", 1, print)
    queue.shutdown()  # repeated: nothing happens


def test_repr_says_that_a_state_may_be_old(queue: Queue) -> None:
    job = queue.create("a")
    assert repr(job) == "<Job a, not saved>"
    assert repr(job.save()) == "<Job 1 a, inactive when last read>"


def test_the_error_of_a_missing_job_is_plain_english(queue: Queue) -> None:
    with pytest.raises(kue.JobNotFound, match="^job 99 does not exist$"):
        queue.get(99)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["create('a').save()", "counts()", "get(1)"])
def test_without_a_redis_there_is_one_short_exception(call: str) -> None:
    program = f"import kue; kue.create_queue('redis://127.0.0.1:{free_port()}').{call}"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.stderr.count("Traceback") == 1 and len(ended.stderr.splitlines()) <= 10, ended.stderr
    assert "kue.errors.QueueUnavailable: Redis is unreachable (Error 111" in ended.stderr.splitlines()[-1]


def test_after_a_shutdown_no_event_handler_waits_for_events_in_vain(redis_url: str) -> None:
    queue = kue.create_queue(redis_url)
    queue.on("job complete", print)
    queue.shutdown()
    for call in (lambda: queue.on("job failed", print), lambda: queue.subscribe(print)):
        with pytest.raises(kue.KueError, match="^this queue was shut down; create another one to receive events$"):
            call()


def test_the_jobs_of_a_type_are_counted_in_all_states(queue: Queue) -> None:
    queue.create_many([{"type": "a"}, {"type": "a", "delay": 60_000}, {"type": "b"}])
    assert (queue.count_of(), queue.count_of(job_type="a"), queue.count_of("delayed", "a")) == (3, 2, 1)


ODD: list[Any] = [
    None, "", 5, -1, 1.5, True, [], {}, object(), "x y", b"b", float("nan"), 10**30, "\ud800", ["a"], {"a": 1},
]  # fmt: skip
#: Arguments that a call needs besides the odd one.
USUAL: dict[str, Any] = {
    "job_type": "a", "job_id": 1, "event": "job complete", "fn": print, "name": "n", "state": "failed", "url": "https://x",
    "events": ["failed"], "worker": "w", "count": 1, "start": 0, "stop": 1, "text": "a", "words": ["a"], "jobs": [],
    "job_ids": [1], "names": ["state"], "number": 1, "most": 1, "level": 1, "session_id": "s", "until_ms": 1,
}  # fmt: skip
#: Not called: they end the queue, or are called with a job's owner.
LEFT_OUT = {"shutdown", "close", "from_hash", "from_options", "get", "wait"}


def calls_of(target: Any) -> list[tuple[str, dict[str, Any], list[Any]]]:
    """Return each public method with each of its parameters in turn set to each odd value."""
    found: list[tuple[str, dict[str, Any], list[Any]]] = []
    for name in dir(type(target)):
        method = getattr(type(target), name, None)
        if name.startswith("_") or name in LEFT_OUT or not inspect.isfunction(method):
            continue
        parameters = list(inspect.signature(method).parameters.values())[1:]
        for odd in parameters:
            needed = [each for each in parameters if each is odd or each.default is each.empty]
            given = {each.name: USUAL.get(each.name) for each in needed if each.kind not in (2, 4)}
            for value in ODD:
                if odd.kind == odd.VAR_POSITIONAL:
                    found.append((name, {}, [*given.values(), value]))
                elif odd.kind != odd.VAR_KEYWORD:
                    found.append((name, {**given, odd.name: value}, []))
    return found


@pytest.mark.parametrize("kind", ["queue", "job", "saved"])
def test_no_odd_argument_raises_from_inside(queue: Queue, kind: str) -> None:
    def target() -> Any:
        return queue if kind == "queue" else queue.create("a") if kind == "job" else queue.create("a").save()

    missed, made = [], target()
    for name, given, more in calls_of(made):
        try:
            answer = getattr(made if kind == "queue" else target(), name)(*more, **given)
            if inspect.isgenerator(answer):
                list(answer)
        except kue.KueError:
            pass
        except Exception as exc:
            missed.append(f"{name}({given or more}): {exc!r}")
    assert not missed, "\n".join(missed)


def test_nor_does_one_of_a_queue_for_asyncio(redis_url: str) -> None:
    missed = []

    async def call_all() -> None:
        async with kue.aio.create_queue(redis_url) as queue:
            for name, given, more in calls_of(queue):
                try:
                    answer = getattr(queue, name)(*more, **given)
                    if inspect.isawaitable(answer):
                        await answer
                except kue.KueError:
                    pass
                except Exception as exc:
                    missed.append(f"{name}({given or more}): {exc!r}")

    run(call_all())
    assert not missed, "\n".join(missed)
