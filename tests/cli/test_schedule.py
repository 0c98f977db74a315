"""``kue schedule``: what each of its commands prints and changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kue.queue import Queue

Kue = Callable[..., Any]


def test_the_life_of_a_schedule(kue: Kue, queue: Queue) -> None:
    said = kue("schedule", "add", "nightly", "report", '{"of": "x"}', "--cron", "0 3 * * *",
               "--timezone", "Europe/Berlin", "-p", "high", "-a", 3, "--backoff", "exponential", "--jitter", "5m",
               "--missed", "all")  # fmt: skip
    assert said.code == 0 and said.out.startswith("schedule nightly fires next in ")
    definition = queue.get_schedule("nightly").definition
    assert (definition.cron, definition.timezone, definition.jitter_ms, definition.missed) == (
        "0 3 * * *", "Europe/Berlin", 300_000, "all")  # fmt: skip
    assert definition.data == {"of": "x"}
    assert definition.options == {"priority": -10, "attempts": 3, "backoff": {"type": "exponential"}}
    assert kue("schedule", "run", "nightly").out == "1\n" and queue.get(1).schedule == "nightly"
    assert kue("schedule", "pause", "nightly").out == "schedule nightly paused\n"
    listed = kue("schedule", "ls").out.splitlines()
    assert listed[0].split()[:3] == ["NAME", "TYPE", "NEXT"]
    assert listed[1].split()[:3] == ["nightly", "report", "paused"]
    assert kue("schedule", "pause", "nightly").out == "schedule nightly was already paused\n"
    assert kue("schedule", "resume", "nightly").out == "schedule nightly resumed\n"
    (found,) = json.loads(kue("schedule", "ls", "--json").out)
    assert (found["name"], found["paused"], found["last_job"]) == ("nightly", False, 1)
    assert kue("schedule", "rm", "nightly", "other") == (
        1, "schedule nightly removed\n", "kue: schedule 'other' does not exist\n")  # fmt: skip
    for verb in ("pause", "resume", "run"):
        assert kue("schedule", verb, "nightly") == (1, "", "kue: schedule 'nightly' does not exist\n")


def test_the_preview_saves_nothing(kue: Kue, queue: Queue) -> None:
    said = kue("schedule", "add", "s", "t", "--at", "2030-03-31T02:30", "--timezone", "Europe/Berlin", "--preview")
    assert said.out == "2030-03-31 03:30:00+02:00\n"
    assert len(json.loads(kue("schedule", "add", "s", "t", "--every", "5m", "--preview", "--json").out)) == 10
    assert queue.schedules() == []


@pytest.mark.parametrize(("words", "said"), [
    (["--cron", "x"], "invalid cron"), (["--every", "soon"], "is not a duration"),
    (["--at", "soon"], "is not a date"), ([], "one of --cron"), (["--every", "5m", "--attempts", "-1"], "attempts"),
])  # fmt: skip
def test_what_is_wrong_is_a_usage_error(kue: Kue, words: list[str], said: str) -> None:
    answer = kue("schedule", "add", "s", "t", *words)
    assert answer.code == 2 and said in answer.err
