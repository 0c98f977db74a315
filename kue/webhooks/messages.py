"""Messages: an event of the outbox in the form sent to a webhook, and its delivery job. Pure."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ..storage.codec import from_json, number, to_json
from ..text.redaction import safe, safe_text
from .definition import ALERT, Webhook

#: Attempts and backoff of a delivery: over about 14 hours, the first again after 5 s.
ATTEMPTS: Final = 15
BACKOFF: Final = {"type": "exponential", "delay": 5_000, "maxDelay": 4 * 3_600_000, "jitter": 0.2}
#: An attempt takes at most about 15 s; after this many ms its worker is stuck.
TTL_MS: Final = 60_000
#: Longest body, characters. A longer one omits the job's data and result.
BODY_MAX = 256 * 1024
#: Longest text for Slack and ntfy, characters.
TEXT_MAX = 2_000
_CONTENT_TYPES = {"standard": "application/json", "slack": "application/json", "ntfy": "text/plain; charset=utf-8"}
#: Fields of a job that are numbers.
_NUMBERS = ("attempts", "max_attempts", "created_at", "started_at", "failed_at", "duration")


class Occurrence(NamedTuple):
    """An event in the outbox."""

    id: str
    """Unique in its queue."""
    event: str
    raw: Mapping[str, str]
    """Its fields, as ``lua/include/outbox.lua`` writes them."""

    @property
    def job_type(self) -> str:
        return self.raw.get("type", "")

    @property
    def job_id(self) -> int | str | None:
        text = self.raw.get("id")
        return int(text) if text is not None and text.isdecimal() and len(text) < 17 else text


def delivery_options() -> dict[str, Any]:
    """Return the options of a delivery job."""
    return {"attempts": ATTEMPTS, "backoff": BACKOFF, "ttl": TTL_MS, "remove_on_complete": True}


def delivery_data(queue: str, webhook: Webhook, what: Occurrence) -> dict[str, Any]:
    """Return the data of the delivery job of an event. It contains no secret."""
    about = what.event if what.job_id is None else f"job {what.job_id} ({what.event})"
    return {
        "title": f"Notify {webhook.name}: {about}",
        "webhook": webhook.name,
        "message": _message_id(queue, webhook, what),
        "event": what.event,
        "job": what.job_id,
        "content_type": _CONTENT_TYPES[webhook.format],
        "body": _body(queue, webhook.format, what),
    }


def _message_id(queue: str, webhook: Webhook, what: Occurrence) -> str:
    """Return the webhook-id: identical for repeated sends, and unique across queues and webhooks."""
    text = "\n".join((queue, webhook.name, str(webhook.created_at), what.id))
    return "msg_" + base64.b32encode(hashlib.sha256(text.encode()).digest())[:26].decode().lower()


def _body(queue: str, format: str, what: Occurrence) -> str:
    if format == "standard":
        return _standard(queue, what)
    text = safe_text(_sentence(queue, what))
    if len(text) > TEXT_MAX:
        text = text[: TEXT_MAX - 1] + "…"
    return to_json({"text": html.escape(text, quote=False)}) if format == "slack" else text


def _standard(queue: str, what: Occurrence) -> str:
    at_ms = number(what.raw.get("at")) or 0
    timestamp = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    kind = what.raw.get("kind") or f"job.{what.event.replace(' ', '_')}"
    data = {"queue": queue, **(_alert(what) if what.event == ALERT else _job(what))}
    text = to_json({"type": kind, "timestamp": timestamp, "data": data})
    if len(text) > BODY_MAX:
        data = {name: value for name, value in data.items() if name not in ("data", "result", "args")}
        text = to_json({"type": kind, "timestamp": timestamp, "data": {**data, "truncated": True}})
    return text


def _alert(what: Occurrence) -> dict[str, Any]:
    raw = what.raw
    return {
        "alert": raw.get("alert", ""),
        "active": raw.get("kind") == "alert.started",
        "summary": raw.get("text", ""),
        "started_at": number(raw.get("started_at")),
    }


def _job(what: Occurrence) -> dict[str, Any]:
    raw = what.raw
    found: dict[str, Any] = {"event": what.event}
    if what.job_id is not None:
        found |= {"id": what.job_id, "type": what.job_type}
    if "data" in raw:
        found["data"] = safe(from_json(raw["data"]))
    found |= {name: number(raw[name]) for name in _NUMBERS if name in raw}
    found |= {name: raw[field] for name, field in (("state", "state"), ("worker", "workerId")) if field in raw}
    args = _arguments(what)
    if what.event in ("failed", "failed attempt"):
        found["error"] = safe_text(str(args[0])) if args else ""
    elif what.event == "complete":
        found["state"] = "complete"  # one that is removed immediately never has it in Redis
        found["result"] = safe(args[0]) if args else None
    elif args:
        found["args"] = safe(args)
    if "left_out" in raw:
        found["truncated"] = True
    return found


def _sentence(queue: str, what: Occurrence) -> str:
    if what.event == ALERT:
        state = "Alert" if what.raw.get("kind") == "alert.started" else "Resolved"
        return f"{state} ({queue}): {what.raw.get('text', '')}"
    if what.job_id is None:
        return f"Test message from a webhook of queue {queue}."
    said = {"failed": "failed", "complete": "completed", "failed attempt": "failed an attempt", "enqueue": "waits"}
    text = f"Job {what.job_id} ({what.job_type}) {said.get(what.event, what.event)}"
    args = _arguments(what)
    return f"{text}: {args[0]}" if what.event in ("failed", "failed attempt") and args else text


def _arguments(what: Occurrence) -> list[Any]:
    found = from_json(f"[{what.raw.get('args', '')}]")
    return found if isinstance(found, list) else []
