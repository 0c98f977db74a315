"""The times of a schedule and the handling of missed ones: a table, no Redis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kue.schedules import Schedule
from kue.schedules.times import CATCH_UP_MAX, Handled, due, first_time, jitter, occurrences, plan, unhandled

HOUR, DAY = 3_600_000, 86_400_000


def ms(text: str) -> int:
    """Return the epoch ms of an ISO time; without an offset it is UTC."""
    when = datetime.fromisoformat(text)
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def made(**rule: Any) -> Schedule:
    return Schedule("s", "t", **rule)


def times(schedule: Schedule, after: str, count: int, zone: str = "UTC") -> list[str]:
    found = islice(occurrences(schedule, ms(after), ms(after)), count)
    return [datetime.fromtimestamp(each / 1000, ZoneInfo(zone)).isoformat(timespec="minutes") for each in found]


BERLIN = "Europe/Berlin"
#: In Berlin clocks go from 2:00 to 3:00 on 29 March 2026, and from 3:00 to 2:00 on 25 October 2026.
TABLE = [
    ("0 3 * * *", "UTC", "2026-03-28T12:00", ["2026-03-29T03:00+00:00", "2026-03-30T03:00+00:00"]),
    ("0 3 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T03:00+02:00"]),
    # A time that does not exist comes at once when the clock has been set; one that is there twice comes once.
    ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:30+02:00"]),
    ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"]),
    ("30 2 * * *", BERLIN, "2026-10-25T01:15", ["2026-10-26T02:30+01:00"]),  # asked in the second of the two hours
    ("0 2,3 * * *", BERLIN, "2026-03-28T12:00", ["2026-03-29T03:00+02:00", "2026-03-30T02:00+02:00"]),
    # What comes each hour or more often goes by the time that passes.
    ("30 * * * *", BERLIN, "2026-10-24T23:40", ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]),
    ("30 * * * *", BERLIN, "2026-03-29T00:00", ["2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"]),
    ("*/20 2 * * *", BERLIN, "2026-10-25T00:30", ["2026-10-25T02:40+02:00", "2026-10-25T02:00+01:00"]),
    ("0 0 L * *", "UTC", "2026-02-01T00:00", ["2026-02-28T00:00+00:00", "2026-03-31T00:00+00:00"]),
    ("0 9 * * MON#1", "UTC", "2026-02-01T00:00", ["2026-02-02T09:00+00:00", "2026-03-02T09:00+00:00"]),
    ("0 0 29 2 *", "UTC", "2026-01-01T00:00", ["2028-02-29T00:00+00:00", "2032-02-29T00:00+00:00"]),
    ("30 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", ["2026-10-04T02:30+11:00", "2026-10-05T02:30+11:00"]),
    ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00", ["2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"]),
]


@pytest.mark.parametrize(("cron", "zone", "after", "expected"), TABLE)
def test_cron_goes_by_the_clocks_of_its_time_zone(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert times(made(cron=cron, timezone=zone), after, len(expected), zone) == expected


@pytest.mark.parametrize("cron", ["30 2 * * *", "*/20 2 * * *", "0 * * * *", "0 1,2,3 * * *", "15 2 * * * *"])
@pytest.mark.parametrize("day", ["2026-03-28T23:00", "2026-10-24T23:00"])
def test_the_times_are_the_same_from_wherever_one_looks(cron: str, day: str) -> None:
    schedule = made(cron=cron, timezone=BERLIN)
    whole = list(islice(occurrences(schedule, 0, ms(day)), 12))
    assert whole == sorted(set(whole))
    for after in range(ms(day), whole[9], 5 * 60_000):
        assert next(occurrences(schedule, 0, after)) == next(each for each in whole if each > after)


def test_an_interval_counts_from_its_start_or_from_when_it_was_made() -> None:
    five = timedelta(minutes=5)
    assert times(made(every=five), "2026-01-01T00:01", 2) == ["2026-01-01T00:06+00:00", "2026-01-01T00:11+00:00"]
    started = made(every=five, start=datetime(2026, 1, 1, 0, 2, tzinfo=UTC))
    assert times(started, "2026-01-01T00:00", 2) == ["2026-01-01T00:02+00:00", "2026-01-01T00:07+00:00"]
    assert times(started, "2026-01-01T00:07", 1) == ["2026-01-01T00:12+00:00"]


def test_start_and_end_belong_to_a_schedule_and_a_date_comes_once() -> None:
    start, end = datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 3, 3, tzinfo=UTC)
    inside = ["2026-01-02T03:00+00:00", "2026-01-03T03:00+00:00"]
    assert times(made(cron="0 3 * * *", start=start, end=end), "2025-06-01T00:00", 9) == inside
    assert times(made(at=start), "2026-01-01T00:00", 9) == inside[:1]
    assert times(made(at=start), "2026-01-02T03:00", 9) == []


def test_a_date_without_a_zone_is_in_the_schedules_zone_else_local() -> None:
    naive = datetime(2026, 7, 1, 12)
    assert made(at=naive, timezone=BERLIN).at_ms == ms("2026-07-01T12:00+02:00")
    assert made(at=naive).at_ms == naive.timestamp() * 1000


def test_jitter_is_the_same_everywhere_and_spreads() -> None:
    schedule = made(cron="0 * * * *", jitter=timedelta(minutes=10))
    other = Schedule("o", "t", cron="0 * * * *", jitter=HOUR)
    found = [jitter(schedule, hour * HOUR) for hour in range(200)]
    assert found == [jitter(made(cron="0 * * * *", jitter=600_000), hour * HOUR) for hour in range(200)]
    assert min(found) >= 0 and max(found) < 600_000 and len(set(found)) > 190
    assert jitter(other, HOUR) != jitter(schedule, HOUR)
    assert due(schedule, HOUR) == HOUR + found[1]


# What was missed

EVERY = {"every": timedelta(minutes=10)}
FIRST, NEXT = 600_000, 1_200_000


@pytest.mark.parametrize(("missed", "late_ms", "fires", "following"), [
    ("once", 0, FIRST, NEXT),
    ("skip", 0, FIRST, NEXT),
    ("skip", 60_000, FIRST, NEXT),  # a short deployment
    ("skip", 60_001, None, NEXT),
    ("once", 60_001, FIRST, NEXT),
    ("all", 60_001, FIRST, NEXT),
    ("once", 3 * 600_000 + 100_000, FIRST + 3 * 600_000, FIRST + 4 * 600_000),
    ("all", 3 * 600_000 + 100_000, FIRST, NEXT),
    ("skip", 3 * 600_000 + 100_000, None, FIRST + 4 * 600_000),
    ("skip", 3 * 600_000 + 10_000, FIRST + 3 * 600_000, FIRST + 4 * 600_000),
    ("all", (CATCH_UP_MAX + 49) * 600_000, FIRST + 50 * 600_000, FIRST + 51 * 600_000),
    ("once", 20_000_000 * 600_000, FIRST + 20_000_000 * 600_000, FIRST + 20_000_001 * 600_000),
])  # fmt: skip
def test_missed_times_fire_once_never_or_one_by_one(
    missed: Any, late_ms: int, fires: int | None, following: int
) -> None:
    wanted = plan(made(**EVERY, missed=missed), 0, FIRST, FIRST + late_ms, Handled())
    assert (wanted.fires, wanted.next) == (fires, following)


def test_a_second_too_late_is_not_missed() -> None:
    schedule = made(every=1000, missed="once")
    assert plan(schedule, 0, 1000, 3000, Handled())[::2] == (1000, 2000)
    assert plan(schedule, 0, 1000, 3001, Handled())[::2] == (3000, 4000)


@pytest.mark.parametrize("missed", ["once", "all"])
def test_a_clock_set_forward_by_a_day_gives_one_job_not_144(missed: Any) -> None:
    # Given a schedule at each ten minutes, and a clock that is set forward in between
    schedule, before = made(**EVERY, missed=missed), FIRST - 5000
    now = before + DAY
    # When the process that saw the jump plans
    wanted = plan(schedule, 0, FIRST, now, Handled(), (before, now))
    # Then one job is made for all of them
    assert wanted.fires == FIRST + DAY - 600_000 and wanted.next == FIRST + DAY


def test_a_clock_set_forward_and_back_fires_nothing_twice_and_waits_for_nobody() -> None:
    schedule = made(**EVERY)
    fired: list[int] = []
    handled, following, now = Handled(), FIRST, FIRST - 5000

    def run(until: int) -> None:
        nonlocal handled, following, now
        while following <= until:
            now = max(now, following)
            wanted = plan(schedule, 0, following, now, handled)
            fired.append(wanted.fires or 0)
            handled, following = wanted.handled, wanted.next or 0
        now = until

    # Given a clock that is a day ahead for half an hour
    now += DAY
    run(now + 1_800_000)
    assert len(fired) == 4
    # When it is set back
    now -= DAY
    following = first_time(schedule, 0, now, handled) or 0
    # Then the schedule goes on at once, and each of its times comes once until long behind the jump
    assert following == FIRST + 1_800_000
    run(FIRST + 2 * DAY)
    assert len(fired) == len(set(fired))
    assert set(range(FIRST + 1_800_000, FIRST + 2 * DAY, 600_000)) <= set(fired)


@given(st.lists(st.tuples(st.sampled_from(["wait", "jump", "back"]), st.integers(1, 400)), max_size=30),
       st.sampled_from(["once", "skip", "all"]))  # fmt: skip
def test_whatever_the_clock_does_no_time_is_handled_twice(moves: list[tuple[str, int]], missed: Any) -> None:
    schedule = made(every=60_000, missed=missed)
    handled, now = Handled(), 0
    following: int | None = 60_000
    fired: list[int] = []
    for kind, minutes in moves:
        now = max(0, now + (-minutes if kind == "back" else minutes) * 60_000)
        if kind == "back":
            first = first_time(schedule, 0, now, handled)
            if first is not None and (following is None or first < following):
                following = first
        for _ in range(3):  # as busy as it may be
            if following is not None and following <= now:
                wanted = plan(schedule, 0, following, now, handled)
                assert not handled.holds(following)
                if wanted.fires is not None:
                    fired.append(wanted.fires)
                    assert wanted.handled.holds(wanted.fires)
                handled, following = wanted.handled, wanted.next
        assert following is not None
    assert len(fired) == len(set(fired))


def test_the_unhandled_times_are_those_in_the_hole_and_after_the_last() -> None:
    schedule = made(every=100)
    handled = Handled(1000, (300, 600))
    assert list(islice(unhandled(schedule, 0, 0, handled), 4)) == [400, 500, 1100, 1200]
    assert handled.and_one(400) == Handled(1000, (400, 600))
    assert handled.and_one(1100) == Handled(1100, (300, 600))
    assert handled.passed_over(400, 500) == Handled(1000, (500, 600))
    assert handled.passed_over(1100, 1500) == Handled(1500, (1099, 1500))
    assert handled.passed_over(400, 1200) == Handled(1200, None)
