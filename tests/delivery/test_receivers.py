"""Receivers that are slow, dead or lie: what becomes of the message and of the webhook, in one table."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import kue
from kue.app.webhooks import apply_settings
from kue.delivery import DeliveryHandler, delivery_handler
from kue.delivery.handler import VARIABLES, DeliveryFailed
from kue.errors import RetryLater, UnrecoverableError
from kue.settings import Settings
from kue.webhooks.messages import Occurrence
from tests.downloads.proxies import connect_proxy, relay
from tests.support import free_port
from tests.webhooks.receiver import Receiver

#: Seconds that a receiver has in these tests.
TOTAL_S = 0.6
OCCURRENCE = Occurrence("1-1", "test", {"kind": "webhook.test"})

#: path: the status that is noted, the kind of error, and what it says. Only "disabled" disables the webhook.
TABLE: dict[str, tuple[int | None, type[Exception] | None, str]] = {
    "/ok": (200, None, ""),
    "/201": (201, None, ""),
    "/204": (204, None, ""),
    "/huge": (200, None, ""),  # its body is not read
    "/slow": (None, DeliveryFailed, "sent nothing for 0.6 s|no answer within"),
    "/trickle": (None, DeliveryFailed, "no (complete response headers|answer) within"),
    "/huge-head": (None, DeliveryFailed, "header"),
    "/closes": (None, DeliveryFailed, "closed the connection"),
    "/no-http": (None, DeliveryFailed, "HTTP"),
    "/400": (400, DeliveryFailed, "responded with 400"),
    "/404": (404, DeliveryFailed, "responded with 404"),
    "/500": (500, DeliveryFailed, "responded with 500"),
    "/redirect": (307, DeliveryFailed, "redirects are not followed"),
    "/redirect-inside": (302, DeliveryFailed, "redirects are not followed"),
    "/busy": (429, RetryLater, "responded with 429"),
    "/410": (410, UnrecoverableError, "is now disabled"),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("tls")
    cert, key = place / "cert.pem", place / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", str(key), "-out", str(cert)],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def queue(redis_url: str) -> Iterator[kue.Queue]:
    with kue.create_queue(redis_url) as queue:
        yield queue


def deliver(queue: kue.Queue, name: str, **options: Any) -> Any:
    """Run one attempt of a delivery here, as a worker does."""
    store = queue._webhooks
    handler = DeliveryHandler(store, total_s=TOTAL_S, **{"allow": ["127.0.0.1"], **options})
    return handler(store.new_delivery(queue.get_webhook(name), OCCURRENCE))


def test_receivers_that_are_slow_or_dead_or_lie(queue: kue.Queue) -> None:
    with Receiver() as receiver:
        for path, (status, error, text) in TABLE.items():
            name = path.strip("/")
            queue.webhook(["failed"], receiver.url(path), name=name)
            begun = time.monotonic()
            if error is None:
                assert deliver(queue, name) == {"status": status}, path
            else:
                with pytest.raises(error, match=text):
                    deliver(queue, name)
            assert time.monotonic() - begun < 5 * TOTAL_S, path
            (noted,) = queue.deliveries(name)
            assert noted["status"] == status and bool(noted["error"]) == (error is not None), (path, noted)
            found = queue.get_webhook(name)
            assert (found.disabled_at is not None) == (path == "/410"), path
            assert (found.delivered, found.failed) == ((0, 1) if error else (1, 0))
        # No redirect was followed, and what is disabled is not asked again
        assert [each.path for each in receiver.received] == list(TABLE)
        with pytest.raises(UnrecoverableError, match="410 Gone; enable it"):
            deliver(queue, "410")
        assert len(receiver.received) == len(TABLE)


def test_a_receiver_that_asks_to_wait_is_asked_later_within_limits(queue: kue.Queue) -> None:
    with Receiver() as receiver:
        queue.webhook(["failed"], receiver.url("/busy"), name="busy")
        with pytest.raises(RetryLater) as caught:
            deliver(queue, "busy")
        assert caught.value.counts and 1000 <= caught.value.delay_ms <= 1100


def test_nobody_there_and_addresses_that_are_not_public(queue: kue.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.webhook(["failed"], f"http://127.0.0.1:{free_port()}/", name="dead")
    with pytest.raises(DeliveryFailed, match="refused the connection"):
        deliver(queue, "dead")
    for number, url in enumerate(
        ["http://127.0.0.1:1/", "http://[::1]:1/", "http://2130706433/", "http://localhost:1/", "http://169.254.169.254/x"]
    ):
        queue.webhook(["failed"], url, name=f"inside{number}")
        with pytest.raises(UnrecoverableError, match="Refused: .*KUE_WEBHOOK_ALLOW"):
            deliver(queue, f"inside{number}", allow=[])
    # A name that leads inside is refused by the address that is connected to
    queue.webhook(["failed"], "http://hooks.example.com:1/", name="rebound")
    answer = [(2, 1, 6, "", ("127.0.0.1", 1))]
    monkeypatch.setattr("socket.getaddrinfo", lambda *args, **kwargs: answer)
    with pytest.raises(UnrecoverableError, match="hooks.example.com resolves to 127.0.0.1"):
        deliver(queue, "rebound", allow=[])


def test_deliveries_go_through_the_proxy_and_are_checked_before(queue: kue.Queue) -> None:
    with Receiver() as proxy:
        proxy.statuses = [200, 407]
        options = {"proxy": proxy.url("").replace("//", "//me:pw@"), "allow": []}
        # The proxy, which may have any address, resolves a name that is unknown here
        queue.webhook(["failed"], "http://hooks.invalid/x?y=1", name="w")
        assert deliver(queue, "w", **options) == {"status": 200}
        (asked,) = proxy.received
        assert asked.path == "http://hooks.invalid/x?y=1" and asked.headers["host"] == "hooks.invalid"
        assert asked.headers["proxy-authorization"] == "Basic bWU6cHc="
        with pytest.raises(DeliveryFailed, match="407"):
            deliver(queue, "w", **options)
        queue.webhook(["failed"], "http://127.0.0.1:1/", name="inside")
        with pytest.raises(UnrecoverableError, match="Refused: .*KUE_WEBHOOK_ALLOW"):
            deliver(queue, "inside", **options)
        assert len(proxy.received) == 2


def test_signed_messages_go_through_a_tunnel_of_a_proxy_with_tls(
    queue: kue.Queue, certificate: tuple[Path, Path]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    seen: list[str] = []
    with Receiver(context) as receiver:
        made = queue.webhook(["failed"], receiver.url(), name="w")
        handshake = connect_proxy(seen, lambda _: ("127.0.0.1", receiver.server_port))
        for tls in (None, context):
            with relay(handshake, tls) as port:
                proxy = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
                assert deliver(queue, "w", proxy=proxy, ca_bundle=str(certificate[0])) == {"status": 200}
            receiver.received[-1].verified(made.secret or "")
    assert len(seen) == 2 and all(each.startswith("CONNECT 127.0.0.1:") for each in seen)


def test_deliveries_know_what_was_given_as_flags(queue: kue.Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    apply_settings(Settings.load({}, ["--webhook-allow", "127.0.0.1"]), queue)
    with Receiver() as receiver:
        queue.webhook(["failed"], receiver.url(), name="w")
        _, handler = delivery_handler(queue._webhooks)
        assert handler(queue._webhooks.new_delivery(queue.get_webhook("w"), OCCURRENCE)) == {"status": 200}


def test_tls_is_verified(queue: kue.Queue, certificate: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with Receiver(context) as receiver, Receiver() as plain:
        queue.webhook(["failed"], receiver.url(), name="w")
        with pytest.raises(DeliveryFailed, match="self-signed"):
            deliver(queue, "w")
        assert receiver.received == []
        assert deliver(queue, "w", ca_bundle=str(certificate[0])) == {"status": 200}
        queue.webhook(["failed"], plain.url().replace("http:", "https:"), name="no_tls")
        with pytest.raises(DeliveryFailed, match="does not speak TLS|failed"):
            deliver(queue, "no_tls")


def test_a_webhook_whose_deliveries_fail_for_days_is_disabled(
    queue: kue.Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as receiver:
        queue.webhook(["failed"], receiver.url("/500"), name="w")
        with pytest.raises(DeliveryFailed):
            deliver(queue, "w")
        days = 5 * 86_400_000 + 1000
        client = queue.session.connector.shared()
        since = int(client.hget(queue.keys.webhook("w"), "failing_since"))
        client.hset(queue.keys.webhook("w"), "failing_since", since - days)
        with pytest.raises(UnrecoverableError, match="is now disabled"):
            deliver(queue, "w")
        assert "for 5 days, the last with: the receiver responded with 500" in str(queue.get_webhook("w").disabled_why)
