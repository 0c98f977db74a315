"""The page of alerts and webhooks, served by a process that runs no jobs: it delivers all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

import kue
from tests.support import wait_until
from tests.webhooks.receiver import Receiver

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgb2YgMzIgYnl0ZXM="


@pytest.mark.long
def test_a_web_process_without_workers_delivers_what_the_page_sends(
    make_program: Callable[..., Any], open_page: Callable[..., Any], redis_client: redis.Redis, redis_url: str
) -> None:
    with Receiver() as receiver, kue.create_queue(redis_url) as queue:
        queue.create("orphan").save()
        program = make_program(
            KUE_WORKERS="0",
            KUE_WEBHOOK_URL=receiver.url("/ok"),
            KUE_WEBHOOK_SECRET=SECRET,
            KUE_WEBHOOK_ALLOW="127.0.0.1",
            KUE_ALERT_QUEUE_TIME="1ms",
        )
        # The webhook of the settings is there; a job that waits too long is an alert, and is sent
        wait_until(lambda: receiver.received, 30)
        message = receiver.received[0].verified(SECRET)
        assert (message["type"], message["data"]["alert"]) == ("alert.started", "queue_time")

        page = open_page(f"{program.url}/")
        page.click("nav a:has-text('Alerts')")
        page.wait_for_selector(".alerts li:has-text('job 1 (orphan) has been waiting')")
        page.wait_for_load_state("load")  # its script has run, so its buttons work
        # A test is sent, and how it went is shown
        page.click("[data-webhook=settings] [data-action=test]")
        page.wait_for_selector("#act_message:has-text('delivers a test to settings')")
        page.wait_for_selector("[data-webhook=settings] tbody tr:has-text('test'):has-text('200')")
        assert receiver.received[-1].verified(SECRET)["type"] == "webhook.test"
        # It is disabled, enabled and removed
        page.click("[data-webhook=settings] [data-action=disable]")
        page.wait_for_selector("[data-webhook=settings] h2:has-text('disabled')")
        page.click("[data-webhook=settings] [data-action=enable]")
        page.wait_for_selector("[data-webhook=settings] [data-action=test]")
        assert SECRET not in page.content() and SECRET not in program.log.read_text()
        page.click("[data-webhook=settings] [data-action=remove]")
        page.click("dialog[open] button:has-text('Remove')")
        page.wait_for_selector("text=There are no webhooks.")
        assert queue.webhooks() == []
        shown = json.loads(redis_client.hget("q:workers", redis_client.hkeys("q:workers")[0]) or "{}")
        assert list(shown["types"]) == ["webhook-delivery"]
