"""``kue webhook`` and ``kue alerts``: what each command prints and changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kue.queue import Queue

Kue = Callable[..., Any]


def test_the_life_of_a_webhook(kue: Kue, queue: Queue) -> None:
    said = kue("webhook", "add", "https://h.example/x?token=abcd", "-e", "failed", "-t", "bill", "--name", "ops")
    told, signed = said.out.splitlines()
    assert (said.code, told) == (0, "webhook ops receives failed")
    assert signed.startswith("its messages are signed with whsec_")
    secret = signed.rpartition(" ")[2]
    assert queue._webhooks.with_secrets("ops")[1] == [secret]
    slack = kue("webhook", "add", "https://hooks.slack.com/services/abcd", "--format", "slack", "--name", "slack")
    assert slack.out == "webhook slack receives failed, alert\n"
    listed = kue("webhook", "ls").out
    assert [line.split()[0] for line in listed.splitlines()] == ["NAME", "ops", "slack"]
    assert "abcd" not in listed and secret not in listed + kue("webhook", "ls", "--json").out
    assert kue("webhook", "test", "ops").out == "1\n" and json.loads(kue("webhook", "test", "ops", "--json").out)
    assert kue("webhook", "log", "ops").out.split()[:2] == ["AGO", "EVENT"]
    assert kue("webhook", "disable", "ops").out == "webhook ops disabled\n"
    assert kue("webhook", "disable", "ops").out == "webhook ops was already disabled\n"
    assert kue("webhook", "ls").out.splitlines()[1].split()[1] == "disabled"
    assert kue("webhook", "test", "ops").err == "kue: webhook 'ops' is disabled (by hand); enable it first\n"
    assert kue("webhook", "enable", "ops").out == "webhook ops enabled\n"
    assert kue("webhook", "rm", "ops", "x") == (1, "webhook ops removed\n", "kue: webhook 'x' does not exist\n")
    for verb in ("test", "enable", "disable", "log"):
        assert kue("webhook", verb, "ops") == (1, "", "kue: webhook 'ops' does not exist\n")
    given = kue("webhook", "add", "https://h.example/", "--secret", secret, "--json")
    assert json.loads(given.out)["secret"] == secret


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ftp://h/"], "https://example.com/hook"),
        (["https://h/", "-e", "progress"], "is not one of"),
        (["https://h/", "--secret", "swordfish"], "24 to 64 bytes"),
        (["https://h/", "--name", "a b"], "letters, digits"),
    ],
)
def test_what_is_no_webhook_is_a_usage_error(kue: Kue, words: list[str], said: str) -> None:
    told = kue("webhook", "add", *words)
    assert told.code == 2 and said in told.err and "swordfish" not in told.err


def test_alerts_are_listed_and_make_the_exit_code(kue: Kue, queue: Queue) -> None:
    assert kue("alerts") == (0, "no active alerts\n", "")
    entry = {"text": "Redis is full", "bad_since": "1", "started_at": "1", "seen_at": "2"}
    queue.session.connector.shared().hset("q:alerts", "redis_memory", json.dumps(entry))
    said = kue("alerts")
    assert said.code == 1 and said.out.splitlines()[1].split()[1:] == ["redis_memory", "Redis", "is", "full"]
    assert json.loads(kue("alerts", "--json").out)[0]["name"] == "redis_memory"
