"""Add the job to log records written in its handler, for kue's own programs and for applications.

If ``JobContext`` is attached to a ``logging`` handler, each record has ``job_id``, ``job_type``, ``job_attempt``,
``trace_id`` and ``span_id``. ``JsonFormatter`` writes such records as JSON, one per line.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from .base_job import BaseJob
from .storage.trace_context import trace_id

#: The job whose handler runs in this thread or task.
current_job: ContextVar[BaseJob | None] = ContextVar("kue_job", default=None)

#: The standard attributes of every record, which are not application data.
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}
#: The job's attributes, in output order.
FIELDS = ("job_id", "job_type", "job_attempt", "trace_id", "span_id")


@contextmanager
def in_context_of(job: BaseJob) -> Iterator[None]:
    """Add the job to records logged inside."""
    token = current_job.set(job)
    try:
        yield
    finally:
        current_job.reset(token)


class JobContext(logging.Filter):
    """Adds to each record the job whose handler writes it, and the trace: ``job_id``, ``job_type``, ``job_attempt``,
    ``trace_id``, ``span_id``. All are empty strings outside a handler. Lets every record pass.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in _context().items():
            if not hasattr(record, name):  # otherwise set by the application's ``extra``
                setattr(record, name, value)
        return True


class JsonFormatter(logging.Formatter):
    """Writes a record as a JSON object on one line: ``time`` (UTC), ``level``, ``logger``, ``message``, ``pid``, what
    ``JobContext`` adds (with or without that filter), the traceback as ``exception``, and what ``extra`` was given.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        said: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        context = {name: getattr(record, name) for name in FIELDS if hasattr(record, name)} or _context()
        said |= {name: value for name, value in context.items() if value != ""}
        if record.exc_info and record.exc_info[0] is not None:
            said["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            said["stack"] = self.formatStack(record.stack_info)
        known = _STANDARD.union(said, FIELDS)
        said |= {name: value for name, value in record.__dict__.items() if name not in known}
        return json.dumps(said, default=str, separators=(",", ":"))


def _context() -> dict[str, Any]:
    job = current_job.get()
    trace, span = _span()
    if job is None:
        return {"job_id": "", "job_type": "", "job_attempt": "", "trace_id": trace, "span_id": span}
    return {
        "job_id": job.id, "job_type": job.type, "job_attempt": job.attempts_made + 1,
        "trace_id": trace or trace_id(job.trace_context), "span_id": span,
    }  # fmt: skip


def _span() -> tuple[str, str]:
    """Return the ids of OpenTelemetry's current trace and span; empty if there is none, or it is not in use."""
    opentelemetry = sys.modules.get("opentelemetry.trace")
    if opentelemetry is None:
        return "", ""
    context = opentelemetry.get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else ("", "")
