"""Wrong, missing, late and repeated arguments of public calls: each error names the argument and the remedy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio

import kue
from kue.queue import Queue
from tests.support import ROOT, free_port

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
    "progress before save": (lambda queue: queue.create("a").progress(1), "not saved yet"),
    "log before save": (lambda queue: queue.create("a").log("x"), "not saved yet"),
}


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


@pytest.mark.parametrize("call", ["create('a').save()", "counts()", "get(1)"])
def test_without_a_redis_there_is_one_short_exception(call: str) -> None:
    program = f"import kue; kue.create_queue('redis://127.0.0.1:{free_port()}').{call}"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.stderr.count("Traceback") == 1 and len(ended.stderr.splitlines()) <= 10, ended.stderr
    assert "kue.errors.QueueUnavailable: Redis is unreachable (Error 111" in ended.stderr.splitlines()[-1]
