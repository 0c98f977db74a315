"""Alerts: each begins once and ends once, whoever evaluates and however the value swings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

import kue
from kue.alerts import evaluation
from kue.alerts import rules as rule
from kue.webhooks.definition import DELIVERY_TYPE
from tests.support import wait_until
from tests.webhooks.receiver import Receiver

RULES = kue.AlertRules(failure_rate=50, queue_time_ms=60_000, no_worker_ms=30_000, redis_memory=90)


@pytest.fixture
def queue(redis_url: str) -> Iterator[kue.Queue]:
    with kue.create_queue(redis_url) as queue:
        yield queue


@pytest.fixture
def evaluate(queue: kue.Queue, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Evaluate the rules at the server's time or later, as one process or another; return the active alerts."""
    later_ms = 0
    run, server_ms = queue.session.scripts.run, evaluation.server_ms
    monkeypatch.setattr(evaluation, "server_ms", lambda client: server_ms(client) + later_ms)

    def shifted(client: Any, name: str, *args: object, now_ms: int = 0) -> Any:
        return run(client, name, *args, now_ms=now_ms or (server_ms(client) + later_ms if name == "set_alert" else 0))

    monkeypatch.setattr(queue.session.scripts, "run", shifted)

    def evaluate(seconds: float = 0, alerts: evaluation.Alerts | None = None) -> list[str]:
        nonlocal later_ms
        later_ms += int(seconds * 1000)
        redis_client.delete("q:alerts:turn:queue", "q:alerts:turn:forgotten")
        (alerts or queue._alerts).run(queue.session.connector.shared())
        return [each["name"] for each in queue.alerts()]

    return evaluate


def outbox(client: redis.Redis) -> list[tuple[str, str]]:
    return [(raw["kind"], raw["alert"]) for _, raw in client.xrange("q:webhooks:outbox")]  # type: ignore[union-attr]


# What the rules say


def levels(found: Any) -> list[tuple[str, str]]:
    return [(each.name, each.level) for each in found]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (rule.failure_rate(RULES, 0, 9), [("failure_rate", "good")]),  # too few to know
        (rule.failure_rate(RULES, 5, 5), [("failure_rate", "bad")]),
        (rule.failure_rate(RULES, 55, 45), [("failure_rate", "between")]),
        (rule.failure_rate(RULES, 61, 39), [("failure_rate", "good")]),
        (rule.failure_rate(replace(RULES, failure_rate=None), 0, 99), []),
        (rule.queue_time(RULES, None, None, ""), [("queue_time", "good")]),
        (rule.queue_time(RULES, 60_000, 7, "t"), [("queue_time", "bad")]),
        (rule.queue_time(RULES, 50_000, 7, "t"), [("queue_time", "between")]),
        (rule.no_worker(RULES, {"a": 1, "b": 2}), [("no_worker:a", "bad"), ("no_worker:b", "bad")]),
        (rule.no_worker(RULES, {}), []),
        (rule.redis_memory(RULES, 95, 100), [("redis_memory", "bad")]),
        (rule.redis_memory(RULES, 87, 100), [("redis_memory", "between")]),
        (rule.redis_memory(RULES, 84, 100), [("redis_memory", "good")]),
        (rule.redis_memory(RULES, 95, None), [("redis_memory", "good")]),
        (rule.disk_free(replace(RULES, disk_free=100), "h", 99), [("disk_free:h", "bad")]),
        (rule.disk_free(replace(RULES, disk_free=100), "h", 110), [("disk_free:h", "between")]),
        (rule.disk_free(replace(RULES, disk_free=100), "h", 130), [("disk_free:h", "good")]),
    ],
)
def test_a_rule_has_a_gap_between_bad_and_good(found: Any, expected: list[tuple[str, str]]) -> None:
    assert levels(found) == expected


# What becomes of it


def test_an_alert_begins_once_and_ends_once_whoever_evaluates(
    queue: kue.Queue, redis_url: str, redis_client: redis.Redis, evaluate: Callable[..., list[str]]
) -> None:
    queue.webhook(["alert"], "https://example.com/", name="ops")
    queue.alert_rules(replace(RULES, redis_memory=None, failure_rate=None))
    # Another process, or this one after a restart
    other = evaluation.Alerts(queue.session, queue._queries, queue._statistics)
    other.alert_rules(queue.alert_rules())
    job = queue.create("t").save()

    assert evaluate() == []  # a type may be without a worker for 30 s
    assert evaluate(29) == [] and outbox(redis_client) == []
    assert evaluate(2) == ["no_worker:t"]
    assert evaluate(0, other) == evaluate(5) == ["no_worker:t"]
    assert evaluate(60, other) == ["no_worker:t", "queue_time"]
    started = [("alert.started", "no_worker:t"), ("alert.started", "queue_time")]
    assert outbox(redis_client) == started
    assert queue.alerts()[0]["text"] == "1 job of type t is waiting, but no worker processes that type"
    assert "has been waiting for" in queue.alerts()[1]["text"]

    # What swings does not end it
    queue.remove(job.id or 0)
    assert evaluate(10) == ["no_worker:t", "queue_time"]
    queue.create("t").save()
    assert evaluate(40, other) == evaluate(40) == ["no_worker:t", "queue_time"]
    for job_id in queue.ids("inactive"):
        queue.remove(job_id)
    assert evaluate(0, other) == evaluate(59) == ["no_worker:t", "queue_time"]
    assert evaluate(2) == evaluate(0, other) == []
    assert outbox(redis_client)[:2] == started and sorted(outbox(redis_client)[2:]) == sorted(
        ("alert.ended", name) for _, name in started
    )
    assert redis_client.hgetall("q:alerts") == {}


def test_of_several_processes_one_evaluates_at_a_time(queue: kue.Queue, redis_client: redis.Redis) -> None:
    queue.alert_rules(RULES)
    client, calls = queue.session.connector.shared(), []
    others = [evaluation.Alerts(queue.session, queue._queries, queue._statistics) for _ in range(3)]
    for each in others:
        each.alert_rules(RULES)
        each._of_queue = lambda client, rules: calls.append(1) or iter(())  # type: ignore[method-assign, func-returns-value]
        each.run(client)
    assert len(calls) == 1 and 0 < redis_client.pttl("q:alerts:turn:queue") <= 10_000  # type: ignore[operator]


def test_the_failure_rate_is_what_the_workers_count(
    queue: kue.Queue, redis_client: redis.Redis, evaluate: Callable[..., list[str]]
) -> None:
    def work(job: kue.Job) -> None:
        if job.data["fails"]:
            raise ValueError("planned")

    queue.alert_rules(kue.AlertRules(failure_rate=50))
    queue.process("t", 5, work)
    queue.process(DELIVERY_TYPE, lambda job: None)  # deliveries are not counted
    queue.create_many([{"type": "t", "data": {"fails": n < 7}} for n in range(12)])
    queue.create_many([{"type": DELIVERY_TYPE, "data": {"webhook": "w"}} for n in range(12)])
    wait_until(lambda: queue.complete_count() == 17 and queue.failed_count() == 7, 20)
    wait_until(lambda: evaluate() == ["failure_rate"], 10)
    assert "58% of 12 attempts failed in 5 min" in queue.alerts()[0]["text"]
    assert evaluate(6 * 60) == ["failure_rate"] and evaluate(61) == []


def test_the_disk_and_memory_rules_look_at_the_real_thing(
    queue: kue.Queue, redis_client: redis.Redis, tmp_path: Path
) -> None:
    client = queue.session.connector.shared()
    queue.alert_rules(kue.AlertRules(redis_memory=0.001, disk_free=2**60, folder=tmp_path / "not" / "yet"))
    redis_client.config_set("maxmemory", "10gb")
    try:
        queue._alerts.run(client)
    finally:
        redis_client.config_set("maxmemory", "0")
    names = [each["name"] for each in queue.alerts()]
    assert len(names) == 2 and "redis_memory" in names and any(name.startswith("disk_free:") for name in names)


def test_the_disk_of_a_machine_that_is_gone_is_forgotten(
    queue: kue.Queue, redis_client: redis.Redis, tmp_path: Path
) -> None:
    client = queue.session.connector.shared()
    now = queue.server_ms()
    for host, seen_at in (("gone", now - 16 * 60_000), ("here", now)):
        entry = {"text": "only", "bad_since": "1", "started_at": "1", "seen_at": str(seen_at)}
        redis_client.hset("q:alerts", f"disk_free:{host}", json.dumps({**entry, "good_since": "1"}))
    queue.alert_rules(kue.AlertRules(disk_free=1, folder=tmp_path))
    queue._alerts.run(client)
    assert [each["name"] for each in queue.alerts()] == ["disk_free:here"]


def test_an_alert_whose_rule_was_turned_off_ends(
    queue: kue.Queue, evaluate: Callable[..., list[str]], redis_client: redis.Redis
) -> None:
    queue.alert_rules(kue.AlertRules(queue_time_ms=1))
    queue.create("t").save()
    assert evaluate(1) == ["queue_time"]
    # When no process has any rule, as after a restart with other settings
    queue.alert_rules(kue.AlertRules())
    assert evaluate(14 * 60) == ["queue_time"]
    assert evaluate(2 * 60) == ["queue_time"] and evaluate(16 * 60) == []


@pytest.mark.parametrize("format", ["standard", "slack", "ntfy"])
def test_an_alert_is_sent_in_the_format_of_its_receiver(
    queue: kue.Queue, format: str, evaluate: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUE_WEBHOOK_ALLOW", "127.0.0.1")
    with Receiver() as receiver:
        made = queue.webhook(["alert", "failed"], receiver.url(), name="ops", format=format, types=["none"])
        queue.alert_rules(kue.AlertRules(no_worker_ms=0))
        queue.create("a<b>&c").save()
        assert evaluate() == ["no_worker:a<b>&c"]
        queue.process("else", lambda job: None)
        wait_until(lambda: len(receiver.received) == 1, 20)
        (told,) = receiver.received
        told_text = "1 job of type a<b>&c is waiting, but no worker processes that type"
        if format == "standard":
            message = told.verified(made.secret or "")
            assert message["type"] == "alert.started" and message["data"]["active"] is True
            assert message["data"]["summary"] == told_text and message["data"]["alert"] == "no_worker:a<b>&c"
        elif format == "slack":
            escaped = told_text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            assert told.json == {"text": f"Alert (q): {escaped}"}
        else:
            assert told.body.decode() == f"Alert (q): {told_text}"
            assert told.headers["content-type"].startswith("text/plain") and told.headers["title"] == "kue alert"
