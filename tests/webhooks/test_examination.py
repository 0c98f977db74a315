"""The doctor on the keys of webhooks: what is wrong with each, and what a repair makes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

import kue
from kue.doctor import examine

BREAK: dict[str, tuple[Callable[[redis.Redis], object], bool]] = {
    "listed, but does not exist": (lambda client: client.delete("q:webhook:w"), True),
    "not listed": (lambda client: client.srem("q:webhooks", "w"), True),
    "nothing is sent to it: the definition": (lambda client: client.hset("q:webhook:w", "definition", "x"), False),
    "has no secret": (lambda client: client.hdel("q:webhook:w", "secret"), False),
    "its key is a string": (lambda client: client.delete("q:webhook:w") and client.set("q:webhook:w", "x"), False),
    "does not match the events of the webhooks": (lambda client: client.delete("q:webhooks:events"), True),
    "q:webhooks:outbox is a string": (lambda client: client.set("q:webhooks:outbox", "x"), False),
    "q:alerts is a string": (lambda client: client.set("q:alerts", "x"), False),
    "1 events have been waiting for webhook delivery": (
        lambda client: client.xadd("q:webhooks:outbox", {"event": "x"}, id="1-1"),
        False,
    ),
}


@pytest.mark.parametrize("what", BREAK)
def test_the_doctor_names_what_is_wrong_and_repairs_what_it_can(
    what: str, redis_url: str, redis_client: redis.Redis
) -> None:
    with kue.create_queue(redis_url) as queue:
        queue.webhook(["failed", "failed attempt"], "https://example.com/", name="w", types=["a", "b"])
        queue.webhook(["failed"], "https://example.com/", name="webhook")
        queue.create("webhook").save()  # a type whose tokens have a key that looks alike
        queue.disable_webhook("webhook")
        assert list(examine(queue, settle_s=0)) == []
        change, is_repaired = BREAK[what]
        change(redis_client)
        (found,) = examine(queue, fix=True, settle_s=0)
        assert what in found.what and found.fixed == is_repaired
        assert bool(list(examine(queue, settle_s=0))) != is_repaired
