"""The handler of jobs that deliver to a webhook."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ..base_job import BaseJob
from ..downloads.addresses.address_guard import Guard
from ..downloads.http.proxy import parse_proxy
from ..downloads.http.tls import TlsOptions
from ..errors import KueError, RetryLater, UnrecoverableError, WebhookNotFound
from ..settings import Settings
from ..storage.epoch_time import now_ms
from ..webhooks import signature
from ..webhooks.deliveries import Delivery
from ..webhooks.store import Webhooks
from .post import TOTAL_S, Answer, PostFailed, post

#: Deliveries that run at once in one process.
CONCURRENCY = 10
#: How long all deliveries to a webhook may fail before it is disabled, ms.
FAILING_MAX_MS = 5 * 86_400_000
#: Longest wait that a receiver's Retry-After may ask for, seconds.
RETRY_AFTER_MAX_S = 6 * 3600
GONE: Final = 410
#: The settings that matter here.
VARIABLES = ("KUE_WEBHOOK_ALLOW", "KUE_WEBHOOK_PROXY", "DOWNLOAD_CA_BUNDLE")


class DeliveryFailed(KueError):
    """A receiver did not accept a message. It is retried."""

    expected = True


class _NotDelivered(UnrecoverableError):
    """A message cannot be delivered; another attempt would fail the same way."""


class DeliveryHandler:
    """Send the message of a job to its webhook. ``allow``: hosts and networks besides public addresses.

    ``proxy``: URL of a proxy for all deliveries. It may have any address.
    """

    def __init__(
        self,
        store: Webhooks[Any],
        *,
        allow: Sequence[str] = (),
        ca_bundle: str | None = None,
        proxy: str | None = None,
        total_s: float = TOTAL_S,
    ) -> None:
        self._store, self._guard, self._tls = store, Guard(allow), TlsOptions(ca_bundle=ca_bundle)
        self._proxy = parse_proxy(proxy, is_trusted=True) if proxy else None
        self._total_s = total_s

    def __call__(self, job: BaseJob) -> dict[str, Any]:
        """Run one attempt. Raises DeliveryFailed, RetryLater if the receiver requests it, or UnrecoverableError."""
        data = job.data if isinstance(job.data, dict) else {}
        name, message, body = (str(data.get(each, "")) for each in ("webhook", "message", "body"))
        try:
            webhook, with_secrets = self._store.with_secrets(name)
        except WebhookNotFound:
            raise _NotDelivered(f"webhook {name!r} was removed") from None
        if webhook.disabled_at is not None:
            raise _NotDelivered(f"webhook {name!r} is disabled: {webhook.disabled_why}; enable it, then retry this job")
        encoded = body.encode(errors="replace")
        headers = signature.headers(message, int(time.time()), encoded, with_secrets)
        headers["Content-Type"] = str(data.get("content_type") or "application/json")
        if webhook.format == "ntfy":
            headers["Title"] = f"kue {data.get('event', '')}".encode("ascii", "replace").decode()
        begun = time.monotonic()
        answer, failure = None, None
        try:
            answer = post(
                webhook.url, headers, encoded, self._guard, self._tls, proxy=self._proxy, total_s=self._total_s
            )
        except PostFailed as exc:
            failure = exc
        error = str(failure) if failure else _refusal(answer)
        delivery = Delivery(
            at=now_ms(), message=message, event=str(data.get("event", "")), job=data.get("job"), delivery_job=job.id,
            attempt=job.attempts_made + 1, attempts=max(1, job.options.attempts), error=error,
            status=None if answer is None else answer.status,
            duration_ms=int((time.monotonic() - begun) * 1000),
        )  # fmt: skip
        failing_since = self._store.record(name, delivery)
        if not error:
            return {"status": delivery["status"]}
        raise self._failure(name, answer, failure, error, failing_since)

    def _failure(
        self, name: str, answer: Answer | None, failure: PostFailed | None, error: str, failing_since: int | None
    ) -> KueError:
        """Return the exception that ends a failed attempt; disable a webhook that is gone."""
        if answer is not None and answer.status == GONE:
            self._disable(name, "its receiver responded with 410 Gone")
            return _NotDelivered(f"{error}: webhook {name!r} is now disabled")
        if failing_since is not None and now_ms() - failing_since > FAILING_MAX_MS:
            days = FAILING_MAX_MS // 86_400_000
            self._disable(name, f"all deliveries failed for {days} days, the last with: {error}")
            return _NotDelivered(f"{error}: webhook {name!r} is now disabled")
        if failure is not None and failure.refused:
            return _NotDelivered(error)
        if answer is not None and answer.retry_after_s is not None and answer.status in (429, 503):
            # A bit later than asked for, and not all at once.
            wait_s = min(max(answer.retry_after_s, 1.0), RETRY_AFTER_MAX_S) * (1 + 0.1 * random.random())
            return RetryLater(wait_s * 1000, error)
        return DeliveryFailed(error)

    def _disable(self, name: str, why: str) -> None:
        try:
            self._store.disable_webhook(name, why)
        except WebhookNotFound:
            pass


def _refusal(answer: Answer | None) -> str:
    if answer is None or 200 <= answer.status < 300:
        return ""
    if 300 <= answer.status < 400:
        return f"the receiver responded with {answer.status}; redirects are not followed"
    return f"the receiver responded with {answer.status}"


def delivery_handler(store: Webhooks[Any]) -> tuple[int, Callable[[BaseJob], Any]]:
    """Return the number of concurrent deliveries of this process, and their handler, configured by the environment."""
    settings = Settings.load({name: os.environ[name] for name in VARIABLES if name in os.environ})
    bundle = settings.download_ca_bundle
    return CONCURRENCY, DeliveryHandler(
        store,
        allow=settings.webhook_allow,
        ca_bundle=str(bundle) if bundle else None,
        proxy=settings.webhook_proxy,
    )
