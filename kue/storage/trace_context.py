"""A job's trace in W3C Trace Context format. Does not need OpenTelemetry."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: The fields of a job's hash, named as the HTTP headers.
FIELDS = ("traceparent", "tracestate", "baggage")
#: Longest stored value, characters: the standards require 512 for tracestate, and 8,192 for baggage.
VALUE_MAX = 8192
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def read(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the trace context in a job's hash or a request's headers; {} if it is invalid."""
    if not _TRACEPARENT.fullmatch(fields.get("traceparent", "")):
        return {}
    found = {name: fields.get(name, "") for name in FIELDS}
    return {name: value for name, value in found.items() if value and len(value) <= VALUE_MAX and value.isprintable()}


def trace_id(context: Mapping[str, str]) -> str:
    """Return the id of a job's trace, 32 hexadecimal digits; "" if there is none."""
    found = _TRACEPARENT.fullmatch(context.get("traceparent", ""))
    return found[1] if found else ""
