"""A webhook for its page and the API, without secrets: its target and last deliveries."""

from __future__ import annotations

from typing import Any, TypedDict

from kue.queue import Queue
from kue.webhooks import Delivery, Webhook

#: Number of attempts shown per webhook.
SHOWN = 20


class WebhookView(TypedDict):
    """A webhook. Times are epoch ms; null: none."""

    name: str
    url: str
    """Without parts that may be secret: queries, and the path of Slack and ntfy URLs."""
    events: list[str]
    types: list[str]
    """Job types whose events it receives; empty: all."""
    format: str
    created_at: int | None
    updated_at: int | None
    disabled_at: int | None
    disabled_why: str | None
    failing_since: int | None
    """Since when no delivery has succeeded."""
    delivered: int
    failed: int
    """Attempts that failed."""
    deliveries: list[Delivery]
    """The last attempts, newest first."""


def webhook_view(queue: Queue, webhook: Webhook) -> WebhookView:
    """Return one webhook with its last attempts."""
    form: Any = {**webhook.to_dict(), "deliveries": queue.deliveries(webhook.name, SHOWN)}
    view: WebhookView = form
    return view
