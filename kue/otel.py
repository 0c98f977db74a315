"""OpenTelemetry tracing: ``queue.use(Tracing())``. Requires ``kue[otel]``; the application configures the SDK.

Spans follow OpenTelemetry's messaging conventions. The context of a job's creation is stored in fields of its hash
(``traceparent``, ``tracestate``, ``baggage``), and the span of each attempt is a child of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .base_job import WAIT, BaseJob
from .errors import JobCancelled, JobTimeout, LeaseLost, RetryLater, WorkerStopping
from .job import Job
from .middleware import AsyncCreateNext, AsyncExecuteNext, CreateNext, ExecuteNext, Middleware
from .storage.epoch_time import now_ms

try:
    from opentelemetry import context as contexts
    from opentelemetry import trace
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.propagators.composite import CompositePropagator
    from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, TracerProvider
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as exc:
    if exc.name is None or exc.name.partition(".")[0] != "opentelemetry":
        raise
    raise ImportError("kue.otel needs opentelemetry-api: pip install 'kue[otel]'") from None

#: Jobs always carry these formats, regardless of the application's propagators for HTTP.
_PROPAGATOR = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])
#: Outcomes of attempts that neither returned nor failed.
_OUTCOMES: dict[type[BaseException], str] = {
    RetryLater: "postponed",
    WorkerStopping: "released",
    JobCancelled: "cancelled",
    LeaseLost: "lost",
}


class Tracing(Middleware):
    """Creates a span when a job is created (``create TYPE``), and a child span for each attempt (``process TYPE``).

    ``tracer_provider``: default OpenTelemetry's global one. Without ``create_spans``, jobs only carry the trace in
    which they are created, for programs that create many at a time.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None, *, create_spans: bool = True) -> None:
        self._provider, self._create_spans = tracer_provider, create_spans

    def create(self, job: Job, call_next: CreateNext) -> None:
        """Create the job inside a new span, whose context it carries."""
        with self._creation(job):
            call_next(job)

    async def acreate(self, job: Any, call_next: AsyncCreateNext) -> None:
        """Create the job inside a new span, whose context it carries."""
        with self._creation(job):
            await call_next(job)

    def execute(self, job: Job, call_next: ExecuteNext) -> Any:
        """Run the handler inside a span, in the trace that the job carries."""
        with self._attempt(job) as span:
            return _noted(span, call_next(job))

    async def aexecute(self, job: Any, call_next: AsyncExecuteNext) -> Any:
        """Run the handler inside a span, in the trace that the job carries."""
        with self._attempt(job) as span:
            return _noted(span, await call_next(job))

    @property
    def _tracer(self) -> trace.Tracer:
        return trace.get_tracer("kue", tracer_provider=self._provider)

    @contextmanager
    def _creation(self, job: BaseJob) -> Iterator[None]:
        # The job may already carry the trace of the request that created it.
        brought = {} if _is_valid(trace.get_current_span()) else job.trace_context
        if not self._create_spans:
            job.trace_context = brought or _carried()
            yield
            return
        with _attached(brought), self._tracer.start_as_current_span(
            f"create {job.type}", kind=SpanKind.PRODUCER, attributes=_attributes(job, "create")
        ) as span:
            own = job.trace_context = _carried()
            yield
            if job.id is not None:  # one of several has no id yet: they are saved together afterwards
                span.set_attribute("messaging.message.id", str(job.id))
            if job.duplicate:
                span.set_attribute("messaging.kue.duplicate", True)
                _link(span, job, own)

    @contextmanager
    def _attempt(self, job: BaseJob) -> Iterator[Span]:
        around = trace.get_current_span()
        attributes = {
            **_attributes(job, "process"),
            "messaging.message.id": str(job.id),
            "messaging.client.id": job.worker_id or "",
            "messaging.kue.attempt": job.attempts_made + 1,
            "messaging.kue.max_attempts": job.options.attempts or 1,
        }
        if job.promote_at is not None and job.attempts_made == 0:
            attributes["messaging.kue.wait_ms"] = max(0, (job.started_at or now_ms()) - job.promote_at)
        with _attached(job.trace_context), self._tracer.start_as_current_span(
            f"process {job.type}",
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(around.get_span_context())] if _is_valid(around) and job.trace_context else [],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except BaseException as exc:
                _note_error(span, job, exc)
                raise


def _attributes(job: BaseJob, operation: str) -> dict[str, str | int]:
    return {
        "messaging.system": "kue",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": job.type,
        "messaging.kue.prefix": job.queue.prefix,
    }


@contextmanager
def _attached(carrier: dict[str, str]) -> Iterator[None]:
    """Set the job's trace and baggage as the context inside."""
    token = contexts.attach(_PROPAGATOR.extract(carrier, contexts.get_current()))
    try:
        yield
    finally:
        contexts.detach(token)


def _carried() -> dict[str, str]:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier if "traceparent" in carrier else {}


def _is_valid(span: Span) -> bool:
    return span.get_span_context().is_valid


def _link(span: Span, job: BaseJob, own: dict[str, str]) -> None:
    """Link to the creation of the existing job, if known."""
    if job.trace_context and job.trace_context != own:
        span.add_link(trace.get_current_span(_PROPAGATOR.extract(job.trace_context)).get_span_context())


def _noted(span: Span, result: Any) -> Any:
    span.set_attribute("messaging.kue.outcome", "waiting" if result is WAIT else "complete")
    return result


def _note_error(span: Span, job: BaseJob, exc: BaseException) -> None:
    if isinstance(exc, asyncio.CancelledError) and job.interrupted is not None:
        exc = job.interrupted
    for kind, outcome in _OUTCOMES.items():
        if isinstance(exc, kind):
            span.set_attribute("messaging.kue.outcome", outcome)
            return
    name = f"{type(exc).__module__}.{type(exc).__qualname__}".removeprefix("builtins.")
    span.set_attribute("messaging.kue.outcome", "timeout" if isinstance(exc, JobTimeout) else "failed")
    span.set_attribute("error.type", name)
    span.record_exception(exc)
    span.set_status(Status(StatusCode.ERROR, str(exc)[:1000]))
