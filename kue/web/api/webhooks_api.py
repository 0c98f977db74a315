"""The API of webhooks and alerts: `/webhooks` and `/alerts` return JSON, or a page for browsers."""

from __future__ import annotations

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from kue.errors import InvalidJob, WebhookNotFound
from kue.web.access.audit import audit
from kue.web.errors import error_response, wants_page
from kue.web.live.current import queue
from kue.web.pages.alerts import alerts_page
from kue.web.present.webhook_view import webhook_view

webhooks_api = Blueprint("webhooks_api", __name__)

MEMBERS = ("url", "events", "secret", "name", "types", "format")


@webhooks_api.get("/alerts")
def active() -> ResponseReturnValue:
    """The active alerts, the oldest first: as JSON, or as a page for browsers."""
    if wants_page():
        return alerts_page()
    response = jsonify(queue().alerts())
    response.vary.add("Accept")
    return response


@webhooks_api.get("/webhooks")
def every() -> ResponseReturnValue:
    """All webhooks by name: as JSON, or as a page for browsers."""
    if wants_page():
        return alerts_page()
    response = jsonify([webhook_view(queue(), each) for each in queue().webhooks()])
    response.vary.add("Accept")
    return response


@webhooks_api.post("/webhooks")
def save() -> ResponseReturnValue:
    """Create a webhook, or replace the one of that name. The response does not repeat the secret."""
    asked = request.get_json(silent=True)
    if not isinstance(asked, dict) or not set(asked) <= set(MEMBERS):
        raise InvalidJob(f"send an object; its members may be {', '.join(MEMBERS)}")
    if not asked.get("secret"):
        raise InvalidJob("secret is missing: send whsec_ followed by at least 24 bytes in base64; it is never shown")
    saved = queue().webhook(
        asked.get("events") or (), asked.get("url") or "", name=asked.get("name"), types=asked.get("types"),
        secret=asked["secret"], format=asked.get("format", "standard"),
    )  # fmt: skip
    audit("webhook", f"{saved.name!r}: {', '.join(saved.events)} to {saved.shown_url}")
    return jsonify(webhook_view(queue(), saved))


@webhooks_api.get("/webhooks/<webhook>")
def one(webhook: str) -> ResponseReturnValue:
    """One webhook."""
    return jsonify(webhook_view(queue(), queue().get_webhook(webhook)))


@webhooks_api.delete("/webhooks/<webhook>")
def remove(webhook: str) -> ResponseReturnValue:
    """Remove a webhook."""
    if not queue().remove_webhook(webhook):
        raise WebhookNotFound(webhook)
    audit("remove webhook", repr(webhook))
    return jsonify({"message": f"webhook {webhook} removed"})


@webhooks_api.post("/webhooks/<webhook>/<any(enable, disable, test):action>")
def run(webhook: str, action: str) -> ResponseReturnValue:
    """Enable or disable a webhook, or send it a test message."""
    if action == "test":
        job = queue().test_webhook(webhook)
        audit("webhook test", repr(webhook))
        return jsonify({"message": f"job {job.id} delivers a test to {webhook}", "id": job.id})
    changed = (queue().enable_webhook if action == "enable" else queue().disable_webhook)(webhook)
    if not changed:
        return error_response(409, f"webhook {webhook} is already {action}d")
    audit(f"webhook {action}", repr(webhook))
    return jsonify({"message": f"webhook {webhook} {action}d"})
