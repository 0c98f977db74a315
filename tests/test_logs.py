"""Log records that name the job whose handler writes them, in every kind of handler, and as JSON."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.logs import FIELDS, JobContext, JsonFormatter, in_context_of
from kue.process.log_output import configure_logging
from tests.support import ROOT, wait_until
from tests.support.otel import SDK
from tests.support.programs import environment

log = logging.getLogger("shop")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Output:
    """A handler as an application would attach it, and the lines that it has written."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.addFilter(JobContext())
        self.handler.setFormatter(JsonFormatter())

    def lines(self, message: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [each for each in found if each["message"].startswith(message)]


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[Output]:
    output = Output()
    root = logging.getLogger()
    root.addHandler(output.handler)
    monkeypatch.setattr(log, "level", logging.INFO)
    yield output
    root.removeHandler(output.handler)


def test_each_record_of_a_handler_names_its_job(queue: kue.Queue, output: Output) -> None:
    # Given a handler in threads and an async one, whose attempts run side by side
    @queue.process("sync", 4)
    def sync(job: kue.Job) -> None:
        log.info("sync %s", job.data)
        if job.attempts_made == 0:
            raise ValueError(f"first attempt of {job.data}")

    @queue.process("async", 4)
    async def awaited(job: Any) -> None:
        await asyncio.sleep(0)

        async def part() -> None:
            log.info("part %s", job.data)

        await asyncio.gather(part(), asyncio.to_thread(log.info, "thread %s", job.data))
        log.info("async %s", job.data)

    # When they run
    jobs = {name: [queue.create(name, number).attempts(2) for number in range(8)] for name in ("sync", "async")}
    for job in jobs["sync"]:
        job.trace_context = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    for each in jobs.values():
        queue.create_many(each)
        for job in each:
            job.wait(20)
    # Then every record has the id of the job whose number it tells
    for kind, messages, attempts in (("sync", ["sync"], 2), ("async", ["part", "thread", "async"], 1)):
        ids = {str(job.data): job.id for job in jobs[kind]}
        for message in messages:
            lines = output.lines(f"{message} ")
            assert sorted((line["job_id"], line["job_attempt"]) for line in lines) == sorted(
                (job_id, attempt) for job_id in ids.values() for attempt in range(1, attempts + 1)
            )
            assert all(line["job_id"] == ids[line["message"].split()[1]] for line in lines)
            assert {line["job_type"] for line in lines} == {kind}
            assert {line.get("trace_id") for line in lines} == ({TRACE} if kind == "sync" else {None})
    # And so have the records about the attempts
    wait_until(lambda: len(output.lines("Job ")) == 8, 20)
    failed = output.lines("Job ")
    assert {(line["job_id"], line["job_attempt"]) for line in failed} == {(job.id, 1) for job in jobs["sync"]}
    assert all(line["level"] == "WARNING" and "ValueError: first attempt" in line["exception"] for line in failed)
    log.info("outside")
    assert not set(FIELDS) & output.lines("outside")[0].keys()


def test_text_formats_can_name_the_job_too(queue: kue.Queue, output: Output) -> None:
    output.handler.setFormatter(logging.Formatter("[%(job_type)s %(job_id)s/%(job_attempt)s %(trace_id)s] %(message)s"))
    job = queue.create("mail").save()
    with in_context_of(job):
        log.info("hello")
    log.info("outside")
    assert output.stream.getvalue().splitlines() == [f"[mail {job.id}/1 ] hello", "[ / ] outside"]


def test_a_message_that_is_not_unicode_can_be_written_anyway() -> None:
    line = JsonFormatter().format(logging.LogRecord("shop", logging.INFO, "", 0, "half \ud800", (), None))
    assert line.isascii() and json.loads(line)["message"] == "half \ud800"


def test_json_is_one_line_whatever_is_logged(output: Output) -> None:
    log.info("two\nlines %s", "\x1b[31m", extra={"order": 7, "odd": object(), "nested": {"a": [1]}, "job_id": 5})
    try:
        raise RuntimeError("bad\nnews")
    except RuntimeError:
        log.exception("failed", stack_info=True)
    first, second = (json.loads(line) for line in output.stream.getvalue().splitlines())
    assert first["message"] == "two\nlines \x1b[31m" and "\x1b" not in output.stream.getvalue()
    assert (first["order"], first["nested"], first["job_id"]) == (7, {"a": [1]}, 5) and "object" in first["odd"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    assert (first["level"], first["logger"]) == ("INFO", "shop")
    assert second["exception"].endswith("RuntimeError: bad\nnews") and "test_logs.py" in second["stack"]


@pytest.mark.parametrize(
    ("form", "environ", "is_json"),
    [(None, "", False), (None, "json", True), ("text", "json", False), ("json", "", True)],
)
def test_programs_log_as_they_are_told(
    monkeypatch: pytest.MonkeyPatch, form: str | None, environ: str, is_json: bool
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    monkeypatch.setenv("KUE_LOG_FORMAT", environ)
    configure_logging("warning", form=form)
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler.formatter, JsonFormatter) is is_json


MODULE = '''
import logging, os
import kue
from kue.otel import Tracing
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

spans = open("spans", "a")
provider = TracerProvider()
exporter = ConsoleSpanExporter(out=spans, formatter=lambda span: span.to_json(None) + "\\n")
provider.add_span_processor(SimpleSpanProcessor(exporter))
queue = kue.create_queue().use(Tracing(provider))
log = logging.getLogger("shop")


@queue.task()
def first() -> int:
    log.warning("in first")
    return second.create().save().id


@queue.task()
async def second() -> int:
    log.warning("in second")
    return (await third.acreate()).id


@queue.task(isolation="process", attempts=2)
def third() -> int:
    log.warning("in third " + "x" * 3000)
    if os.path.exists("retried"):
        return os.getpid()
    open("retried", "w").close()
    raise ValueError("once")
'''


def test_a_worker_and_its_child_processes_write_json_and_one_trace(
    queue: kue.Queue, redis_url: str, tmp_path: Path
) -> None:
    # Given tasks in a thread, on the event loop and in a child process, each of which creates a job for the next
    (tmp_path / "traced.py").write_text(MODULE)
    (tmp_path / "spans").touch()
    first = queue.create("first", {}).save()
    # When a worker runs them
    words = [sys.executable, "-m", "kue", "worker", "traced:queue", "--burst", "--log-format", "json"]
    environ = environment({"REDIS_URL": redis_url, "PYTHONPATH": os.pathsep.join((str(ROOT), SDK))})
    ran = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    # Then each line of its log is JSON, and those of the handlers name their jobs
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    second = first.refresh().result
    third = queue.get(second).result
    assert queue.get(third).state == "complete"
    said = {(line["message"].split()[1], line["job_id"], line["job_type"], line["job_attempt"])
            for line in lines if line["logger"] == "shop"}  # fmt: skip
    assert said == {("first", first.id, "first", 1), ("second", second, "second", 1), ("third", third, "third", 1),
                    ("third", third, "third", 2)}  # fmt: skip
    # And they belong to one trace, that of the spans, also where the child process wrote them
    spans = [json.loads(line) for line in (tmp_path / "spans").read_text().splitlines()]
    (trace,) = {span["context"]["trace_id"].removeprefix("0x") for span in spans}
    assert {line["trace_id"] for line in lines if line["logger"] == "shop"} == {trace}
    by_id = {span["context"]["span_id"]: span for span in spans}
    chain, span = [], next(span for span in spans if span["attributes"].get("messaging.kue.attempt") == 2)
    while span is not None:
        chain.append(span["name"])
        span = by_id.get(span["parent_id"])
    assert chain == ["process third", "create third", "process second", "create second", "process first"]
    assert [each["status"]["status_code"] for each in spans if each["name"] == "process third"] == ["ERROR", "UNSET"]
