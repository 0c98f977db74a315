"""Create, change, list and remove webhooks. Events are sent in dispatching.py and kue/delivery."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Generic, TypedDict
from urllib.parse import urlsplit

from ..base_job import J
from ..errors import InvalidJob, WebhookNotFound
from ..management.limits import parse_by
from ..schedules.owner import ScheduleOwner
from ..storage.arguments import check_count, check_string
from ..storage.codec import number, to_json
from ..storage.epoch_time import now_ms
from ..storage.session import Session
from . import deliveries, messages, signature
from .definition import DELIVERY_TYPE, FORMATS, Webhook, check_name, check_url, definition_text
from .deliveries import Delivery

#: Maximum number of concurrent deliveries per webhook, across all processes: a slow receiver leaves slots to others.
PER_WEBHOOK = 3
#: How long the previous secret is also used for signing, ms.
OLD_SECRET_MS = 24 * 3_600_000


class Backlog(TypedDict):
    """Events without a delivery job yet."""

    waiting: int
    """In the outbox."""
    lost: int
    """Because 100,000 others were waiting."""


class Webhooks(Generic[J]):
    """The webhooks of one queue."""

    def __init__(self, session: Session, owner: ScheduleOwner[J]) -> None:
        self._session, self._owner = session, owner
        self._keys, self._scripts = session.keys, session.scripts
        self._collected: dict[str, Webhook] = {}

    def webhook(
        self,
        events: Iterable[str],
        url: str,
        *,
        name: str | None = None,
        types: Iterable[str] | None = None,
        secret: str | None = None,
        format: str = FORMATS[0],
    ) -> Webhook:
        """Send events to a URL from now on, one signed message per event. Replaces the webhook of that name.

        Messages follow Standard Webhooks.

        ``events``: job events, such as ``["failed", "complete"]``, and ``"alert"``; of ``types``, or all. ``name``
        defaults to one derived from the URL, so repeating a call changes nothing. ``secret`` (``whsec_`` and base64) is
        generated unless given or existing; it is only shown in the returned webhook. ``format``: ``standard``,
        ``slack`` (``{"text": …}``) or ``ntfy`` (plain text).

        Any process with workers delivers, with jobs of type ``webhook-delivery``. Raises InvalidJob.
        """
        check_url(url)
        name = check_name(name) if name is not None else _name_of(url)
        text = definition_text(url, events, types, format)
        secret_field = ("first_secret", signature.new_secret())
        if secret is not None:
            secret_field = ("new_secret", signature.check_secret(secret))
        if self._owner.test_mode.collecting:
            raw = {"definition": text, "created_at": str(now_ms())}
            self._collected[name] = Webhook(name, raw)
            return Webhook(name, raw, secret_field[1])
        self._save(name, "save", "definition", text, *secret_field)
        self._session.call(self._limit)
        raw = self._read(name)
        return Webhook(name, raw, raw.get("secret"))

    def webhooks(self) -> list[Webhook]:
        """Return all webhooks by name, without their secrets."""
        if self._owner.test_mode.collecting:
            return [self._collected[name] for name in sorted(self._collected)]
        found = []
        for name, raw in self._read_all():
            with suppress(InvalidJob):  # invalid: the doctor reports it
                found.append(Webhook(name, raw))
        return found

    def webhook_count(self) -> int:
        """Return the number of webhooks, including disabled ones."""
        if self._owner.test_mode.collecting:
            return len(self._collected)
        return int(self._session.read_one("SCARD", self._keys.webhooks, default=0))

    def get_webhook(self, name: str) -> Webhook:
        """Return a webhook, without its secret. Raises WebhookNotFound."""
        check_name(name)
        if self._owner.test_mode.collecting:
            if name not in self._collected:
                raise WebhookNotFound(name)
            return self._collected[name]
        return Webhook(name, self._read(name))

    def remove_webhook(self, name: str) -> bool:
        """Remove a webhook; return whether it existed. Pending messages are not delivered."""
        check_name(name)
        if self._owner.test_mode.collecting:
            return self._collected.pop(name, None) is not None
        return self._save(name, "remove") > 0

    def enable_webhook(self, name: str) -> bool:
        """Enable a disabled webhook; return whether it was disabled. Raises WebhookNotFound."""
        return self._checked(name, self._save(check_name(name), "enable"))

    def disable_webhook(self, name: str, why: str = "by hand") -> bool:
        """Disable a webhook until it is enabled; return whether it was enabled. Raises WebhookNotFound."""
        check_string("why", why, "by hand")
        return self._checked(name, self._save(check_name(name), "disable", "disabled_why", why))

    def test_webhook(self, name: str) -> J:
        """Send a message of type ``webhook.test`` to a webhook; return the job that delivers it.

        Raises WebhookNotFound; InvalidJob for a disabled one.
        """
        webhook = self.get_webhook(name)
        if webhook.disabled_at is not None:
            raise InvalidJob(f"webhook {name!r} is disabled ({webhook.disabled_why}); enable it first")
        raw = {"at": str(now_ms()), "kind": "webhook.test"}
        job = self.new_delivery(webhook, messages.Occurrence(secrets.token_hex(16), "test", raw))
        self._owner.create([job])
        return job

    def deliveries(self, name: str, count: int = deliveries.KEPT) -> list[Delivery]:
        """Return a webhook's last delivery attempts, newest first."""
        check_name(name)
        if check_count("count", count) == 0 or self._owner.test_mode.collecting:
            return []
        return deliveries.read(
            self._session.read_one("LRANGE", self._keys.deliveries(name), 0, count - 1, default=[])
        )

    def webhook_backlog(self) -> Backlog:
        """Return how many events wait for a delivery job, and how many were dropped because too many waited."""
        waiting = self._session.read_one("XLEN", self._keys.webhook_outbox, default=0)
        lost = number(self._session.read_one("GET", self._keys.webhooks_dropped, default=None))
        return Backlog(waiting=int(waiting), lost=lost or 0)

    # For dispatching and delivery

    def new_delivery(self, webhook: Webhook, what: messages.Occurrence) -> J:
        """Return an unsaved delivery job."""
        data = messages.delivery_data(self._keys.prefix, webhook, what)
        return self._owner.job_class.from_options(self._owner, DELIVERY_TYPE, data, messages.delivery_options())

    def with_secrets(self, name: str) -> tuple[Webhook, list[str]]:
        """Return a webhook and the secrets that sign its messages, the current one first."""
        raw = self._read(name)
        found = [raw["secret"]] if raw.get("secret") else []
        rotated_at = number(raw.get("rotated_at"))
        if rotated_at is not None and now_ms() - rotated_at < OLD_SECRET_MS and raw.get("old_secret"):
            found.append(raw["old_secret"])
        return Webhook(name, raw), found

    def record(self, name: str, delivery: Delivery) -> int | None:
        """Record an attempt's outcome; return since when all have failed, epoch ms, None after a success."""
        has_failed = int(bool(delivery["error"]))
        arguments = (name, to_json(delivery), has_failed, deliveries.KEPT)
        since = self._session.call(lambda client: self._scripts.run(client, "record_delivery", *arguments))
        return int(since) or None

    # Internal

    def _save(self, name: str, verb: str, *fields: str) -> int:
        return int(self._session.call(lambda client: self._scripts.run(client, "save_webhook", name, verb, *fields)))

    def _limit(self, client: Any) -> None:
        """Give each webhook its own slots, unless such a limit already exists."""
        if not client.hexists(self._keys.limits, DELIVERY_TYPE):
            limit = to_json({"concurrency": PER_WEBHOOK, **parse_by("data.webhook")})
            self._scripts.set_limit(client, DELIVERY_TYPE, "key", limit, [])

    def _read(self, name: str) -> dict[str, str]:
        raw: dict[str, str] = self._session.read_one("HGETALL", self._keys.webhook(name), default={})
        if "definition" not in raw:
            raise WebhookNotFound(name)
        return raw

    def _read_all(self) -> list[tuple[str, dict[str, str]]]:
        names = sorted(self._session.read_one("SMEMBERS", self._keys.webhooks, default=()))
        raws = self._session.read_each([("HGETALL", self._keys.webhook(name)) for name in names], default={})
        return list(zip(names, raws, strict=True))

    @staticmethod
    def _checked(name: str, code: int) -> bool:
        if code < 0:
            raise WebhookNotFound(name)
        return bool(code)


def _name_of(url: str) -> str:
    host = "".join(each if each.isalnum() or each in ".-" else "-" for each in urlsplit(url).hostname or "")
    digest = hashlib.sha256(url.encode()).hexdigest()[:6]
    return f"{host.strip('.-')[:50] or 'webhook'}-{digest}"
