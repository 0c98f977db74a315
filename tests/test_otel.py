"""Traces: from a request through a job to the jobs that it creates, whatever runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.trace import SpanKind, StatusCode, Tracer, use_span

import kue
import kue.aio
from kue.otel import Tracing
from kue.testing import collected
from tests.support import wait_until
from tests.support.loops import run
from tests.support.otel import sdk_on_path

with sdk_on_path():
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Spans:
    """The spans that have ended, by name."""

    def __init__(self) -> None:
        self.exporter, self.provider = InMemorySpanExporter(), TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def tracer(self) -> Tracer:
        return self.provider.get_tracer("test")

    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def __getitem__(self, name: str) -> ReadableSpan:
        wait_until(lambda: any(span.name == name for span in self.all()), 20)
        (found,) = (span for span in self.all() if span.name == name)
        return found


@pytest.fixture
def spans() -> Iterator[Spans]:
    with sdk_on_path():
        spans = Spans()
        yield spans
        spans.provider.shutdown()


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def test_one_trace_leads_from_a_request_through_three_jobs(queue: kue.Queue, spans: Spans) -> None:
    # Given handlers of which each creates a job for the next
    queue.use(Tracing(spans.provider))

    @queue.process("first")
    def first(job: kue.Job) -> Any:
        return queue.create("second", job.data).save().id

    @queue.process("second")
    async def second(job: Any) -> Any:
        return (await job.queue.create("third", job.data).save()).id

    @queue.process("third")
    def third(job: kue.Job) -> Any:
        return {"data": job.data, "tenant": baggage.get_baggage("tenant"), "trace": job.trace_context}

    # When a request creates the first
    token = context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        with spans.tracer.start_as_current_span("GET /", kind=SpanKind.SERVER) as request:
            job = queue.create("first", {"n": 1}).save()
    finally:
        context.detach(token)
    last = queue.get(queue.get(job.wait(20)).wait(20))
    # Then their spans are a chain, each the parent of the next
    chain = ["GET /", "create first", "process first", "create second", "process second", "create third",
             "process third"]  # fmt: skip
    found = [spans[name] for name in chain]
    assert [parent_of(span) for span in found] == [None, *(span.context.span_id for span in found[:-1])]
    assert {span.context.trace_id for span in found} == {request.get_span_context().trace_id}
    assert [span.kind for span in found[1:3]] == [SpanKind.PRODUCER, SpanKind.CONSUMER]
    # And the handlers' data are as they were given, and the context is beside it
    result = last.wait(20)
    assert (result["data"], result["tenant"]) == ({"n": 1}, "acme")
    assert last.raw["traceparent"] == result["trace"]["traceparent"] and last.raw["baggage"] == "tenant=acme"
    assert last.raw["data"] == '{"n":1}'
    # And they say what the conventions ask for
    assert dict(spans["create first"].attributes or {}) == {
        "messaging.system": "kue", "messaging.operation.name": "create", "messaging.operation.type": "create",
        "messaging.destination.name": "first", "messaging.message.id": str(job.id), "messaging.kue.prefix": "q",
    }  # fmt: skip
    attributes = dict(spans["process first"].attributes or {})
    assert attributes.pop("messaging.client.id").startswith("kue:")  # type: ignore[union-attr]
    assert 0 <= attributes.pop("messaging.kue.wait_ms") < 60_000  # type: ignore[operator]
    assert attributes == {
        "messaging.system": "kue", "messaging.operation.name": "process", "messaging.operation.type": "process",
        "messaging.destination.name": "first", "messaging.message.id": str(job.id), "messaging.kue.prefix": "q",
        "messaging.kue.attempt": 1, "messaging.kue.max_attempts": 1, "messaging.kue.outcome": "complete",
    }  # fmt: skip


def raises(exc: BaseException) -> Callable[[kue.Job], Any]:
    def handler(job: kue.Job) -> Any:
        raise exc

    return handler


@pytest.mark.parametrize(
    ("handler", "outcome", "error"),
    [
        (raises(ValueError("wrong")), "failed", "ValueError"),
        (raises(kue.UnrecoverableError("never")), "failed", "kue.errors.UnrecoverableError"),
        (raises(kue.JobTimeout("ttl exceeded")), "timeout", "kue.errors.JobTimeout"),
        (raises(kue.RetryLater(5000)), "postponed", None),
        (raises(kue.RateLimited(5000)), "postponed", None),
        (raises(kue.JobCancelled("cancelled")), "cancelled", None),
        (raises(kue.WorkerStopping()), "released", None),
        (lambda job: kue.WAIT, "waiting", None),
    ],
)
def test_an_attempts_end_is_recorded(
    queue: kue.Queue, spans: Spans, handler: Any, outcome: str, error: str | None
) -> None:
    tracing, job = Tracing(spans.provider), queue.create("t").save()
    try:
        tracing.execute(job, handler)
    except BaseException:
        pass
    span = spans["process t"]
    assert (span.attributes or {}).get("messaging.kue.outcome") == outcome
    assert (span.attributes or {}).get("error.type") == error
    assert span.status.status_code is (StatusCode.ERROR if error else StatusCode.UNSET)
    assert [event.name for event in span.events] == (["exception"] if error else [])


def test_an_async_attempt_that_is_stopped_says_why(queue: kue.Queue, spans: Spans) -> None:
    import asyncio

    tracing, job = Tracing(spans.provider), queue.create("t").save()

    async def stopped(job: Any) -> None:
        job._interrupt = kue.JobTimeout("ttl exceeded")
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(tracing.aexecute(job, stopped))
    assert (spans["process t"].attributes or {})["error.type"] == "kue.errors.JobTimeout"


def test_each_attempt_is_a_child_of_the_creation(queue: kue.Queue, spans: Spans) -> None:
    queue.use(Tracing(spans.provider))
    queue.process("t", lambda job: 1 / (job.attempts_made))
    job = queue.create("t").attempts(2).save()
    assert job.wait(20) == 1.0
    wait_until(lambda: len(spans.all()) == 3, 20)
    created, *attempts = sorted(spans.all(), key=lambda span: span.start_time or 0)
    assert [parent_of(span) for span in attempts] == [created.context.span_id] * 2
    assert [(span.attributes or {})["messaging.kue.attempt"] for span in attempts] == [1, 2]


def test_all_ways_to_create_jobs_carry_the_trace(queue: kue.Queue, spans: Spans, redis_url: str) -> None:
    queue.use(Tracing(spans.provider))
    with spans.tracer.start_as_current_span("request") as request:
        many = queue.create_many([queue.create("a").remove_on_complete(), {"type": "a", "delay": 60_000}])
        child = queue.create("child")
        parent = queue.create("parent").after(child).save()
        unique = queue.create("unique").unique("x").save()

        ids = [each.id for each in (*many, child, parent, unique)]
    trace = f"{request.get_span_context().trace_id:032x}"

    async def save() -> Any:
        with use_span(request):
            async with kue.aio.create_queue(redis_url).use(Tracing(spans.provider)) as other:
                return (await other.create("async").save()).id

    ids.append(run(save()))
    jobs = [queue.get(job_id) for job_id in ids if job_id is not None]
    assert [job.trace_context["traceparent"][3:35] for job in jobs] == [trace] * 6
    assert jobs[0].options.remove_on_complete and jobs[0].raw["removeOnComplete"] == "true"
    assert not jobs[1].options.remove_on_complete and jobs[1].state == "delayed"
    assert len({job.trace_context["traceparent"] for job in jobs}) == 6  # each has a span of its own
    # And what is saved again or run again
    jobs[1].priority("high").save()
    assert queue.get(jobs[1].id or 0).trace_context == jobs[1].trace_context
    assert queue.run_as_new(jobs[1].id or 0).refresh().trace_context["traceparent"][3:35] != trace


def test_a_duplicate_links_to_the_existing_job(queue: kue.Queue, spans: Spans) -> None:
    queue.use(Tracing(spans.provider))
    first = queue.create("t").unique("x").save()
    again = queue.create("t").unique("x").save()
    assert again.duplicate and again.id == first.id
    one, two = (span for span in spans.all() if span.name == "create t")
    assert [link.context.span_id for link in two.links] == [one.context.span_id] and not one.links
    # And one that replaces it belongs to the newer trace
    replaced = queue.create("t", {"n": 2}).unique("x", on_duplicate="replace").save()
    three = spans.all()[-1]
    assert replaced.refresh().trace_context["traceparent"][36:52] == f"{three.context.span_id:016x}"


def test_without_spans_of_their_own_jobs_carry_on_the_trace_around_them(queue: kue.Queue, spans: Spans) -> None:
    queue.use(Tracing(spans.provider, create_spans=False))
    assert queue.create("t").save().refresh().trace_context == {}
    with spans.tracer.start_as_current_span("request") as request:
        job = queue.create("t").save()
    assert job.refresh().trace_context["traceparent"][36:52] == f"{request.get_span_context().span_id:016x}"
    assert [span.name for span in spans.all()] == ["request"]


NONE = ["", "00-x", TRACEPARENT.upper(), TRACEPARENT[:-1], f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff{TRACEPARENT[2:]}"]


@pytest.mark.parametrize("given", NONE)
def test_what_is_no_trace_is_left_alone(queue: kue.Queue, redis_client: Any, spans: Spans, given: str) -> None:
    job = queue.create("t").save()
    redis_client.hset(f"q:job:{job.id}", mapping={"traceparent": given, "tracestate": "a=b"})
    job = queue.get(job.id or 0)
    assert job.trace_context == {}
    assert Tracing(spans.provider).execute(job, lambda job: 1) == 1
    assert spans["process t"].parent is None


def test_collected_jobs_have_it_too_and_unused_it_leaves_nothing(queue: kue.Queue, spans: Spans) -> None:
    assert not {"traceparent", "tracestate", "baggage"} & queue.create("t").save().refresh().raw.keys()
    queue.use(Tracing(spans.provider))
    with collected(queue) as jobs:
        queue.create("t").save()
    assert jobs[0].trace_context["traceparent"].startswith("00-")
