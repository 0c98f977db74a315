"""What a schedule may be, and how it is stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import kue
from kue import Schedule

FIVE = timedelta(minutes=5)
SOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize("rule", [
    {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "jitter": FIVE}, {"cron": "*/5 * * * * *", "overlap": "replace"},
    {"every": FIVE, "limit": 7, "missed": "all"}, {"every": 100, "start": SOON, "end": SOON + FIVE},
    {"at": SOON, "priority": -10, "attempts": 3, "backoff": {"type": "fixed", "delay": 5}},
])  # fmt: skip
def test_a_stored_definition_is_read_back_unchanged(rule: dict[str, Any]) -> None:
    schedule = Schedule("s", "t", {"a": [1, "ü"]}, **rule)
    again = Schedule.read("s", schedule.text())
    assert again.text() == schedule.text() and vars(again) == vars(schedule)
    assert (again.type, again.data) == ("t", {"a": [1, "ü"]})


@pytest.mark.parametrize(("arguments", "said"), [
    ({}, "one of cron"), ({"cron": "0 3 * * *", "every": 5000}, "one of cron"), ({"cron": 5}, "cron must be"),
    ({"cron": "61 * * * *"}, "invalid cron"), ({"cron": "0 0 31 2 *"}, "cron"), ({"cron": "*," * 200}, "cron must be"),
    ({"every": 99}, "every"), ({"every": timedelta(days=4000)}, "every"), ({"every": "5m"}, "every"),
    ({"every": True}, "every"), ({"at": "2030"}, "at must be a datetime"), ({"every": FIVE, "jitter": -1}, "jitter"),
    ({"every": FIVE, "start": SOON, "end": SOON - FIVE}, "end lies before"), ({"every": FIVE, "limit": 0}, "limit"),
    ({"every": FIVE, "limit": 1.5}, "limit"), ({"every": FIVE, "overlap": "both"}, "overlap"),
    ({"every": FIVE, "missed": "some"}, "missed"), ({"every": FIVE, "timezone": "../etc/passwd"}, "timezone"),
    ({"every": FIVE, "timezone": ""}, "timezone"), ({"every": FIVE, "color": 1}, "no option 'color'"),
    ({"every": FIVE, "delay": SOON}, "delay"), ({"every": FIVE, "unique": True}, "no option 'unique'"),
])  # fmt: skip
def test_invalid_arguments_are_rejected_with_a_remedy(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(kue.InvalidJob, match=said):
        Schedule("s", "t", **arguments)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "\u202ea", 7, None, "jobs", "a:jobs"])
def test_a_name_is_short_printable_and_no_key_of_a_type(name: Any) -> None:
    with pytest.raises(kue.InvalidJob, match="name"):
        Schedule(name, "t", every=FIVE)


@pytest.mark.parametrize("text", [
    "", "{", "[]", '{"type":"t"}', '{"type":"t","every_ms":1}', '{"type":"t","at_ms":"x"}', '{"every_ms":1000}',
    '{"type":"t","every_ms":1000,"options":7}',
])  # fmt: skip
def test_an_invalid_definition_raises_an_error(text: str) -> None:
    with pytest.raises(kue.InvalidJob):
        Schedule.read("s", text)


def test_the_rule_is_shown_in_words() -> None:
    told = [Schedule("s", "t", **rule).when for rule in (
        {"cron": "0  3 * * *"}, {"cron": "0 3 * * *", "timezone": "Asia/Tokyo"}, {"every": FIVE}, {"every": 1000},
        {"at": SOON}, {"at": datetime(2030, 1, 31, 12), "timezone": "Asia/Tokyo"},
    )]  # fmt: skip
    assert told == ["cron 0 3 * * * (UTC)", "cron 0 3 * * * (Asia/Tokyo)", "every 5 min", "every 1 s",
                    "at 2030-01-31 12:00:00 (UTC)", "at 2030-01-31 12:00:00 (Asia/Tokyo)"]  # fmt: skip
