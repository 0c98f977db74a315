"""The definition of a webhook: a URL, and the events to send. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..errors import InvalidJob
from ..states import EVENTS as JOB_EVENTS
from ..storage.arguments import check_type
from ..storage.codec import check_text, from_json, number, to_json
from ..text.redaction import safe_text

#: The type of delivery jobs. ``lua/include/outbox.lua`` excludes it: their events are never delivered.
DELIVERY_TYPE: Final = "webhook-delivery"
#: The event of an alert that starts or ends.
ALERT: Final = "alert"
#: The events that a webhook can receive. Excluded are ``progress``, which a job may report a thousand times, and events
#: only for Kue's own processes.
EVENTS: Final = (*(each for each in JOB_EVENTS if each not in ("progress", "error", "ttl exceeded ack")), ALERT)
#: The format of the body: JSON by Standard Webhooks, ``{"text": …}`` for Slack, or plain text for ntfy.
FORMATS: Final = ("standard", "slack", "ntfy")
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: Longest URL, and maximum number of types of one webhook.
URL_MAX, TYPES_MAX = 2000, 100


class Webhook:
    """A webhook read from Redis. Times are epoch ms; one that does not apply is None."""

    def __init__(self, name: str, raw: Mapping[str, str], secret: str | None = None) -> None:
        definition = from_json(raw.get("definition", ""))
        if not isinstance(definition, dict) or not isinstance(definition.get("url"), str):
            raise InvalidJob(f"the definition of webhook {name!r} is invalid; remove the webhook and create it again")
        self.name = name
        #: The target. It may contain a secret: ``shown_url`` does not.
        self.url: str = definition["url"]
        self.events: list[str] = _texts(definition.get("events"))
        #: Job types whose events it receives; empty means all.
        self.types: list[str] = _texts(definition.get("types"))
        self.format: str = definition.get("format", FORMATS[0])
        #: The secret that signs its messages, ``whsec_…``. Only set in the result of ``queue.webhook``; None otherwise.
        self.secret = secret
        self.created_at, self.updated_at = number(raw.get("created_at")), number(raw.get("updated_at"))
        #: When it was disabled, and why; None while it is enabled.
        self.disabled_at, self.disabled_why = number(raw.get("disabled_at")), raw.get("disabled_why")
        #: Since when all deliveries have failed; None after a success.
        self.failing_since = number(raw.get("failing_since"))
        #: Numbers of successful and of failed attempts.
        self.delivered, self.failed = number(raw.get("delivered")) or 0, number(raw.get("failed")) or 0

    def __repr__(self) -> str:
        return f"<Webhook {self.name}: {', '.join(self.events)} to {self.shown_url}>"

    @property
    def shown_url(self) -> str:
        """The URL without parts that may be secret."""
        return shown_url(self.url, self.format)

    def wants(self, event: str, job_type: str) -> bool:
        """Return whether an event is delivered to it. Alerts have no type."""
        in_types = not self.types or job_type in self.types or event == ALERT
        return self.disabled_at is None and event in self.events and in_types

    def to_dict(self) -> dict[str, Any]:
        """Return all fields except the secret for JSON. Times are epoch ms."""
        return {
            "name": self.name,
            "url": self.shown_url,
            "events": self.events,
            "types": self.types,
            "format": self.format,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "disabled_at": self.disabled_at,
            "disabled_why": self.disabled_why,
            "failing_since": self.failing_since,
            "delivered": self.delivered,
            "failed": self.failed,
        }


def definition_text(url: object, events: object, types: object, format: object) -> str:
    """Return the stored form of a webhook. Raises InvalidJob."""
    wanted = _listed("events", events)
    for event in wanted:
        if event not in EVENTS:
            raise InvalidJob(f"there is no event {event!r}; a webhook's events are {', '.join(EVENTS)}")
    if not wanted:
        raise InvalidJob('a webhook needs at least one event, such as events=["failed"]')
    of_types = [check_type(each) for each in _listed("types", types)]
    if len(of_types) > TYPES_MAX:
        raise InvalidJob(f"a webhook has at most {TYPES_MAX} types; leave types out for all")
    if DELIVERY_TYPE in of_types:
        raise InvalidJob(f"jobs of type {DELIVERY_TYPE} deliver to webhooks; their own events are never sent")
    if format not in FORMATS:
        raise InvalidJob(f"a webhook's format must be one of {', '.join(FORMATS)}, not {format!r}")
    found = {"url": check_url(url), "events": wanted, "types": of_types, "format": format}
    return to_json({name: value for name, value in found.items() if value})


def check_url(url: object) -> str:
    """Return a webhook's URL if it is valid; raise InvalidJob otherwise. Addresses are checked at each delivery."""
    expected = "the URL of a webhook must look like https://example.com/hook"
    if not isinstance(url, str) or not url:
        raise InvalidJob(f"{expected}, not {safe_text(str(url))[:80]!r}")
    if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidJob(f"{expected}: up to {URL_MAX} ASCII characters without spaces; write others as %XX")
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise InvalidJob(f"{expected}, not {safe_text(url)[:80]!r}")
    if parts.username is not None or parts.fragment:
        raise InvalidJob(
            "the URL of a webhook must not have a user, password or fragment; receivers verify the signature instead"
        )
    return check_text("the URL", url)


def check_name(name: object) -> str:
    """Return a webhook's name if it is valid; raise InvalidJob otherwise."""
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name) or name == "jobs":
        raise InvalidJob(
            f"a webhook's name must be 1 to 64 letters, digits, dots, dashes and underscores, not {str(name)[:80]!r}"
        )
    return name


def shown_url(url: str, format: str) -> str:
    """Return a URL for display. The path of a Slack or ntfy URL grants write access, so it is hidden."""
    parts = urlsplit(url)
    if format == FORMATS[0]:
        return safe_text(f"{parts.scheme}://{parts.netloc}{parts.path}") + ("?…" if parts.query else "")
    return f"{parts.scheme}://{parts.netloc}/…"


def _listed(what: str, values: object) -> list[str]:
    if values is None:
        return []
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise InvalidJob(f'{what} must be a list such as ["failed"], not {values!r}')
    found = list(dict.fromkeys(values))
    if not all(isinstance(each, str) for each in found):
        raise InvalidJob(f"{what} must be a list of strings, not {values!r}")
    return found


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
