"""Webhooks on a real server: each event is delivered once, signed, and nothing of a webhook's secret is shown."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from standardwebhooks.webhooks import WebhookVerificationError

import kue
import kue.aio
from kue.errors import InvalidJob, WebhookNotFound
from kue.webhooks.definition import DELIVERY_TYPE, EVENTS
from tests.support import wait_until
from tests.support.loops import on_loop
from tests.webhooks.receiver import Receiver

#: How keys that could hold a secret are read.
_READ: dict[str, Any] = {
    "hash": redis.Redis.hgetall,
    "list": lambda client, key: client.lrange(key, 0, -1),
    "string": redis.Redis.get,
}
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgb2YgMzIgYnl0ZXM="


@pytest.fixture(autouse=True)
def _allow_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUE_WEBHOOK_ALLOW", "127.0.0.1")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def queue(redis_url: str) -> Iterator[kue.Queue]:
    with kue.create_queue(redis_url) as queue:
        yield queue


def test_each_event_is_delivered_once_signed_and_of_the_wanted_types_alone(
    queue: kue.Queue, redis_url: str, receiver: Receiver, redis_client: redis.Redis
) -> None:
    # Given several processes with workers, as far as Redis can tell
    queues = [queue, kue.create_queue(redis_url), kue.create_queue(redis_url)]
    every = queue.webhook(["enqueue", "start", "complete", "failed", "failed attempt"], receiver.url(), name="every")
    queue.webhook(["failed"], receiver.url("/200"), name="bills", types=["bill"], secret=SECRET)
    assert every.secret and every.secret.startswith("whsec_")

    def work(job: kue.Job) -> Any:
        if job.data.get("fails"):
            raise ValueError("planned: http://h/?token=abcd")
        return {"sum": 1}

    for each in queues:
        each.process("bill", 5, work)
        each.process("mail", 5, work)

    # When jobs complete, fail and are tried again
    good = queue.create_many([{"type": "mail", "data": {"n": n}} for n in range(20)])
    bad = [
        queue.create("bill", {"fails": True, "url": "http://h/?token=abcd"}, attempts=2).save() for _ in range(5)
    ]
    gone = queue.create("mail", {"n": 20}, remove_on_complete=True).save()

    # Then each has been told once of each
    # (a second attempt is enqueued too)
    expected = Counter(
        {"job.enqueue": 31, "job.start": 31, "job.complete": 21, "job.failed": 5, "job.failed_attempt": 5}
    )
    wait_until(lambda: len(receiver.of("/ok")) >= sum(expected.values()), 30)
    wait_until(lambda: queue.counts_by_type()[DELIVERY_TYPE] == dict.fromkeys(queue.counts_by_type()["mail"], 0), 10)
    told = receiver.of("/ok")
    assert Counter(each.json["type"] for each in told) == expected
    assert len({each.message for each in receiver.received}) == len(receiver.received)
    once = Counter((each.json["type"], each.json["data"]["id"]) for each in told)
    assert all(count == 1 for (kind, _), count in once.items() if kind != "job.enqueue" and kind != "job.start")
    assert {each.json["data"]["id"] for each in told} == {job.id for job in [*good, *bad, gone]}
    assert {each.json["data"]["id"] for each in receiver.of("/200")} == {job.id for job in bad}

    # And what it is told is right, without secrets, and signed
    failed = next(each for each in receiver.of("/200") if each.json["data"]["id"] == bad[0].id)
    data = failed.verified(SECRET)["data"]
    assert data["type"] == "bill" and data["attempts"] == data["max_attempts"] == 2 and data["queue"] == "q"
    assert data["error"] == "planned: http://h/?token=***"
    assert data["data"]["url"] == "http://h/?token=***" and "abcd" not in failed.body.decode()
    removed = [each.json["data"] for each in told if each.json["data"]["id"] == gone.id]
    done = next(each for each in removed if each["event"] == "complete")
    assert (done["data"], done["result"], done["state"]) == ({"n": 20}, {"sum": 1}, "complete")
    assert told[0].verified(every.secret)
    with pytest.raises(WebhookVerificationError):
        told[0].verified(SECRET)
    with pytest.raises(WebhookVerificationError):
        told[0]._replace(body=told[0].body + b" ").verified(every.secret)

    # And the secrets are nowhere but where they are kept
    for key in redis_client.scan_iter("*"):
        kind = redis_client.type(key)
        text = str(_READ[kind](redis_client, key)) if kind in _READ else ""
        assert (SECRET in text or every.secret in text) == (key in ("q:webhook:every", "q:webhook:bills")), key
    assert SECRET not in repr(queue.webhooks()) + str([each.to_dict() for each in queue.webhooks()])
    for each in queues[1:]:
        each.shutdown()


def test_a_message_keeps_its_id_over_its_attempts(queue: kue.Queue, receiver: Receiver) -> None:
    receiver.statuses = [500, 503]
    webhook = queue.webhook(["complete"], receiver.url(), name="w")
    queue.process("t", lambda job: None)
    job = queue.create("t").save()
    # What 15 attempts over hours are, in a moment: an operator promotes the delivery each time
    for tries in (1, 2):
        wait_until(lambda tries=tries: len(queue.deliveries("w")) == tries, 10)
        wait_until(lambda: queue.delayed_count(DELIVERY_TYPE) == 1, 10)
        queue.promote(queue.range_by_type(DELIVERY_TYPE, "delayed", 0, 0)[0].id or 0)
    wait_until(lambda: len(queue.deliveries("w")) == 3, 10)
    assert len({each.message for each in receiver.received}) == 1
    assert len({each.headers["webhook-signature"] for each in receiver.received}) >= 1
    assert all(each.verified(webhook.secret or "") for each in receiver.received)
    last, second, first = queue.deliveries("w")
    assert (first["status"], second["status"], last["status"]) == (500, 503, 200)
    assert (first["attempt"], second["attempt"], last["attempt"]) == (1, 2, 3) and first["job"] == job.id
    assert first["error"] and not last["error"] and first["attempts"] == 15
    told = queue.get_webhook("w")
    assert (told.delivered, told.failed, told.failing_since) == (1, 2, None)


def test_deliveries_are_no_events_themselves_and_end_without_a_loop(queue: kue.Queue, receiver: Receiver) -> None:
    wanted = [each for each in EVENTS if each != "alert"]
    queue.webhook(wanted, receiver.url(), name="all")
    queue.webhook(wanted, receiver.url("/500"), name="broken")
    queue.process("t", lambda job: None)
    job = queue.create("t").save()
    wait_until(lambda: len(receiver.of("/ok")) == 3 and len(receiver.of("/500")) == 3, 20)
    wait_until(lambda: queue.delayed_count(DELIVERY_TYPE) == 3, 10)
    # Nothing follows: the outbox is empty, and an operator who removes deliveries causes no message
    for delivery in queue.range_by_type(DELIVERY_TYPE, "delayed", 0, 9):
        queue.cancel(delivery.id or 0)
        queue.remove(delivery.id or 0)
    queue.remove(job.id or 0)
    wait_until(lambda: len(receiver.of("/ok")) == 4, 10)
    assert queue.webhook_backlog() == {"waiting": 0, "lost": 0}
    assert {each.json["data"]["id"] for each in receiver.received} == {job.id}


def test_an_event_is_not_lost_while_nobody_listens_and_a_killed_dispatcher_repeats_nothing(
    queue: kue.Queue, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given events of which nobody has made delivery jobs yet
    queue.webhook(["enqueue"], receiver.url(), name="w")
    jobs = queue.create_many([{"type": "t"} for _ in range(250)])
    assert queue.webhook_backlog() == {"waiting": 250, "lost": 0}
    # When many dispatch at once, and the answer to a call is lost
    client = queue.session.connector.shared()
    run = queue.session.scripts.run
    lost = threading.Event()

    def cut(client: Any, name: str, *args: Any, **options: Any) -> Any:
        answer = run(client, name, *args, **options)
        if name == "dispatch_webhooks" and not lost.is_set():
            lost.set()
            raise redis.ConnectionError("cut")
        return answer

    monkeypatch.setattr(queue.session.scripts, "run", cut)
    monkeypatch.setattr(queue, "_start_deliveries", lambda: None)
    monkeypatch.setattr(queue._dispatching, "_start", lambda: None)
    with pytest.raises(redis.ConnectionError):
        queue._dispatching.run(client)
    while queue._dispatching.run(client) == 0.0:
        pass
    # Then there is one delivery a job
    made = queue.range_by_type(DELIVERY_TYPE, "delayed", 0, 1000)  # for the limit of a webhook
    assert sorted(each.data["job"] for each in made) == sorted(job.id for job in jobs)
    assert queue.webhook_backlog() == {"waiting": 0, "lost": 0}


def test_a_webhook_is_changed_disabled_tested_and_removed(queue: kue.Queue, receiver: Receiver) -> None:
    first = queue.webhook(["failed"], receiver.url())
    same = queue.webhook(["failed"], receiver.url())
    assert (same.name, same.secret) == (first.name, first.secret) and queue.webhook_count() == 1
    queue.process("t", lambda job: None)

    # A new secret: messages are signed with both for a day
    changed = queue.webhook(["complete"], receiver.url(), name=first.name, secret=SECRET)
    assert changed.secret == SECRET and changed.events == ["complete"]
    job = queue.test_webhook(first.name)
    wait_until(lambda: len(receiver.received) == 1, 10)
    assert receiver.received[0].verified(SECRET)["type"] == "webhook.test"
    assert receiver.received[0].verified(first.secret or "")
    assert "secret" not in str(job.data) and SECRET not in str(job.data)

    assert queue.disable_webhook(first.name) and not queue.disable_webhook(first.name)
    queue.create("t").save().wait(timeout_s=10)
    assert queue.webhook_backlog() == {"waiting": 0, "lost": 0}
    with pytest.raises(InvalidJob, match="disabled .by hand.; enable it first"):
        queue.test_webhook(first.name)
    assert queue.enable_webhook(first.name) and not queue.enable_webhook(first.name)
    queue.create("t").save().wait(timeout_s=10)
    wait_until(lambda: len(receiver.received) == 2, 10)

    # Of another URL it is enabled too
    queue.disable_webhook(first.name)
    assert queue.webhook(["complete"], receiver.url(), name=first.name).disabled_at is not None
    assert queue.webhook(["complete"], receiver.url("/201"), name=first.name).disabled_at is None

    assert queue.remove_webhook(first.name) and not queue.remove_webhook(first.name)
    for call in (queue.get_webhook, queue.enable_webhook, queue.disable_webhook, queue.test_webhook):
        with pytest.raises(WebhookNotFound):
            call(first.name)
    assert queue.webhooks() == [] and queue.deliveries(first.name) == []


def test_a_slow_receiver_keeps_no_other_waiting(queue: kue.Queue, receiver: Receiver) -> None:
    queue.webhook(["enqueue"], receiver.url("/slow"), name="slow")
    queue.webhook(["enqueue"], receiver.url("/ok"), name="fast")
    queue.process("else", lambda job: None)
    queue.create_many([{"type": "t"} for _ in range(30)])
    wait_until(lambda: len(receiver.of("/ok")) == 30, 20)
    assert len(receiver.of("/slow")) <= 3
    receiver.ending.set()
    wait_until(lambda: len(receiver.of("/slow")) == 30, 20)


def test_what_a_job_holds_is_sent_as_far_as_it_can_be(queue: kue.Queue, receiver: Receiver) -> None:
    queue.webhook(["complete"], receiver.url(), name="standard")
    queue.webhook(["complete"], receiver.url("/201"), name="slack", format="slack")
    queue.process("t\n%s", lambda job: job.data)
    values = [{"x": "y" * 70_000}, "\u2028 \x00 \ud83d\ude00", None, {"a": [1.5, 2**60, {"b": None}]}]
    for value in values:
        queue.create("t\n%s", value).save()
    wait_until(lambda: len(receiver.received) == 2 * len(values), 20)
    told = {each.json["data"]["id"]: each.json["data"] for each in receiver.of("/ok")}
    assert told[1]["truncated"] and "data" not in told[1]
    assert told[4]["data"] == told[4]["result"] == values[3]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"events": ["fialed"]}, "no event 'fialed'"),
        ({"events": ["progress"]}, "no event 'progress'"),
        ({"events": "failed"}, "must be a list"),
        ({"events": []}, "at least one event"),
        ({"url": "ftp://example.com/"}, "https://example.com/hook"),
        ({"url": "https:///x"}, "https://example.com/hook"),
        ({"url": "http://h:99999/"}, "https://example.com/hook"),
        ({"url": "http://user:pw@h/"}, "must not have a user, password"),
        ({"url": "http://h/ x"}, "without spaces"),
        ({"url": 3}, "https://example.com/hook"),
        ({"name": "a b"}, "letters, digits"),
        ({"name": "jobs"}, "letters, digits"),
        ({"types": [DELIVERY_TYPE]}, "deliver to webhooks"),
        ({"types": [""]}, "non-empty"),
        ({"format": "xml"}, "standard, slack, ntfy"),
        ({"secret": "swordfish"}, "whsec_"),
        ({"secret": "whsec_c2hvcnQ="}, "24 to 64 bytes"),
    ],
)
def test_what_is_no_webhook_is_refused_with_a_hint(wrong: dict[str, Any], message: str) -> None:
    queue = kue.create_queue("redis://127.0.0.1:1")  # nothing is asked of Redis
    arguments = {"events": ["failed"], "url": "https://example.com/", **wrong}
    with pytest.raises(InvalidJob, match=message) as caught:
        queue.webhook(**arguments)
    assert "swordfish" not in str(caught.value) and ":pw@" not in str(caught.value)


@on_loop
async def test_an_asyncio_queue_has_the_same_webhooks_and_alerts(redis_url: str) -> None:
    async with kue.aio.create_queue(redis_url) as queue:
        made = await queue.webhook(["failed"], "https://example.com/hook", name="w")
        assert made.secret and [each.name for each in await queue.webhooks()] == ["w"]
        assert (await queue.get_webhook("w")).secret is None and await queue.webhook_count() == 1
        job = await queue.test_webhook("w")
        assert (await queue.get(job.id or 0)).data["webhook"] == "w"
        assert await queue.deliveries("w") == [] and await queue.alerts() == []
        assert await queue.webhook_backlog() == {"waiting": 0, "lost": 0}
        assert await queue.disable_webhook("w") and await queue.enable_webhook("w") and await queue.remove_webhook("w")
        with pytest.raises(WebhookNotFound):
            await queue.get_webhook("w")
