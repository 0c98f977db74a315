"""The times of a schedule: the next one, missed ones, and how to handle them. Pure.

An occurrence is one time of a schedule, in epoch ms; it is due then, or later by the jitter. Each occurrence is handled
at most once. ``Handled`` records which ones were: all up to ``until``, except those in the hole. The hole contains the
times that were skipped together, by a jump of the clock or while no worker was running. If the clock is set back into
it, they are handled after all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from cronsim import CronSim

from .definition import Schedule

#: An occurrence is missed once the next one is due, within these limits, ms.
MISSED_MIN_MS, MISSED_MAX_MS = 2_000, 60_000
#: Maximum number of jobs created for missed occurrences, the newest.
CATCH_UP_MAX = 100
#: How far to look back for the last due occurrence, ms: the shortest span that contains one is used.
_LOOK_BACK_MS = tuple(unit * 1000 for unit in (120, 7_200, 172_800, 5_184_000, 63_072_000))


class Handled(NamedTuple):
    """Which occurrences have been handled: up to ``until``, except those between the ends of the hole."""

    until: int = 0
    hole: tuple[int, int] | None = None

    def holds(self, occurrence: int) -> bool:
        return occurrence <= self.until and not (self.hole and self.hole[0] < occurrence < self.hole[1])

    def and_one(self, occurrence: int) -> Handled:
        """Return this with one more occurrence, the first unhandled one."""
        hole = self.hole
        if hole and hole[0] < occurrence < hole[1]:
            hole = (occurrence, hole[1]) if occurrence + 1 < hole[1] else None
        return Handled(max(self.until, occurrence), hole)

    def passed_over(self, first: int, last: int) -> Handled:
        """Return this with a new hole, from ``first`` to before ``last``, and ``last`` handled."""
        if first > self.until:
            return Handled(last, (first - 1, last))
        if self.hole and last < self.hole[1]:  # further in the same hole
            return Handled(self.until, (last, self.hole[1]))
        return Handled(max(self.until, last))


class Plan(NamedTuple):
    """How to handle a due schedule."""

    fires: int | None
    """The occurrence for which a job is created; None: the due ones were missed and are skipped."""
    handled: Handled
    """What is handled afterwards."""
    next: int | None
    """The next occurrence; None if there is none."""


def jitter(schedule: Schedule, occurrence: int) -> int:
    """Return an occurrence's jitter, ms: the same in every process."""
    if not schedule.jitter_ms:
        return 0
    digest = hashlib.sha256(f"{schedule.name} {occurrence}".encode()).digest()
    return int.from_bytes(digest[:8]) % schedule.jitter_ms


def due(schedule: Schedule, occurrence: int) -> int:
    """Return when an occurrence is due, epoch ms."""
    return occurrence + jitter(schedule, occurrence)


def occurrences(schedule: Schedule, anchor_ms: int, after_ms: int) -> Iterator[int]:
    """Yield the occurrences after a time, in order. ``anchor_ms``: the start of ``every`` without a ``start``."""
    if schedule.start_ms is not None:
        after_ms = max(after_ms, schedule.start_ms - 1)
    for occurrence in _by_rule(schedule, anchor_ms, after_ms):
        if schedule.end_ms is not None and occurrence > schedule.end_ms:
            return
        if occurrence > after_ms:
            after_ms = occurrence
            yield occurrence


def _by_rule(schedule: Schedule, anchor_ms: int, after_ms: int) -> Iterator[int]:
    if schedule.at_ms is not None:
        yield schedule.at_ms
    elif schedule.every_ms is not None:
        anchor = anchor_ms if schedule.start_ms is None else schedule.start_ms
        number = (after_ms - anchor) // schedule.every_ms + 1
        while True:
            yield anchor + number * schedule.every_ms
            number += 1
    else:
        assert schedule.cron is not None
        try:
            begin = datetime.fromtimestamp(after_ms // 1000, schedule.zone or UTC)
            for each in CronSim(schedule.cron, begin):
                # Whole seconds; at a change from daylight saving time, cronsim may start before `begin`.
                yield int(each.timestamp()) * 1000
        except (OverflowError, ValueError, OSError):  # beyond the calendar
            return


def unhandled(schedule: Schedule, anchor_ms: int, after_ms: int, handled: Handled) -> Iterator[int]:
    """Yield the occurrences after a time that have not been handled."""
    while True:
        for occurrence in occurrences(schedule, anchor_ms, after_ms):
            if not handled.holds(occurrence):
                yield occurrence
            elif handled.hole and occurrence <= handled.hole[0] and after_ms < handled.hole[0]:
                after_ms = handled.hole[0]
                break
            elif after_ms < handled.until:
                after_ms = handled.until
                break
        else:
            return


def preview(schedule: Schedule, anchor_ms: int, now_ms: int, count: int) -> list[int]:
    """Return the first times that a schedule would have if created now."""
    first = first_time(schedule, anchor_ms, now_ms, Handled())
    if first is None:
        return []
    return list(islice(occurrences(schedule, anchor_ms, first - 1), min(count, schedule.limit or count)))


def first_time(schedule: Schedule, anchor_ms: int, now_ms: int, handled: Handled) -> int | None:
    """Return the first occurrence of a new, changed or resumed schedule. A date in the past is due now."""
    after_ms = now_ms
    if schedule.at_ms is not None and (schedule.missed != "skip" or now_ms - schedule.at_ms < MISSED_MAX_MS):
        after_ms = min(now_ms, schedule.at_ms - 1)
    return next(unhandled(schedule, anchor_ms, after_ms, handled), None)


def plan(
    schedule: Schedule,
    anchor_ms: int,
    first: int,
    now_ms: int,
    handled: Handled,
    jumped: tuple[int, int] | None = None,
) -> Plan:
    """Return how to handle a schedule whose next occurrence, ``first``, is due.

    ``jumped``: the last jump of the clock forward, from and to; times within it were not missed individually.
    """

    def then(fires: int | None, after: int, handled: Handled) -> Plan:
        return Plan(fires, handled, next(unhandled(schedule, anchor_ms, after, handled), None))

    if not _is_missed(schedule, anchor_ms, first, now_ms):
        return then(first, first, handled.and_one(first))
    if schedule.missed == "all" and not (jumped and jumped[0] < due(schedule, first) <= jumped[1]):
        oldest = _oldest_of_many(schedule, anchor_ms, first, now_ms, handled)
        if oldest is None:
            return then(first, first, handled.and_one(first))
        return then(oldest, oldest, handled.passed_over(first, oldest))
    last = _last_due(schedule, anchor_ms, first, now_ms, handled, 1)[0]
    if schedule.missed == "skip" and _is_missed(schedule, anchor_ms, last, now_ms):
        return then(None, last, handled.passed_over(first, last + 1))
    return then(last, last, handled.passed_over(first, last) if last > first else handled.and_one(first))


def _is_missed(schedule: Schedule, anchor_ms: int, occurrence: int, now_ms: int) -> bool:
    late_ms = now_ms - due(schedule, occurrence)
    if late_ms <= MISSED_MIN_MS:
        return False
    following = next(occurrences(schedule, anchor_ms, occurrence), None)
    return following is None and late_ms > MISSED_MAX_MS or (
        following is not None and late_ms > min(MISSED_MAX_MS, following - occurrence)
    )


def _oldest_of_many(
    schedule: Schedule, anchor_ms: int, first: int, now_ms: int, handled: Handled
) -> int | None:
    """Return the oldest occurrence to catch up with; None if there are few enough to start with the first."""
    some = islice(unhandled(schedule, anchor_ms, first - 1, handled), CATCH_UP_MAX + 1)
    if sum(due(schedule, each) <= now_ms for each in some) <= CATCH_UP_MAX:
        return None
    return _last_due(schedule, anchor_ms, first, now_ms, handled, CATCH_UP_MAX)[0]


def _last_due(
    schedule: Schedule, anchor_ms: int, first: int, now_ms: int, handled: Handled, count: int
) -> list[int]:
    """Return up to ``count`` last due occurrences, starting at ``first``, oldest first."""
    for span_ms in _LOOK_BACK_MS:
        begin = max(first - 1, now_ms - schedule.jitter_ms - span_ms)
        found: list[int] = []
        for occurrence in unhandled(schedule, anchor_ms, begin, handled):
            if occurrence > now_ms:
                break
            if due(schedule, occurrence) <= now_ms:
                found.append(occurrence)
        if len(found) >= count or begin == first - 1:
            return found[-count:] or [first]
    return found[-count:] or [first]
