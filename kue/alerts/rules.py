"""Rules: turn a queue's measurements into conditions, each with a name, a level and a sentence. Pure.

A condition is ``bad`` beyond its threshold, ``good`` below EASED of it, and ``between`` in the gap, which neither
starts nor ends an alert, so a value that oscillates around the threshold creates one alert, not many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

from ..errors import InvalidJob
from ..text.humanize import duration_text, size_text

Level = Literal["bad", "between", "good"]

#: Share of a threshold below which a condition is good again; reversed for free disk space.
EASED: Final = 0.8
#: Period of the failure rate, minutes, and the minimum number of attempts.
RATE_MINUTES, RATE_ATTEMPTS_MIN = 5, 10
#: Maximum number of types without a worker that get an alert.
TYPES_MAX = 20


@dataclass(frozen=True)
class AlertRules:
    """Thresholds; None disables a rule."""

    #: Percentage of failed attempts in the last 5 minutes, if there were at least 10.
    failure_rate: float | None = None
    #: Waiting time of the oldest waiting job, ms.
    queue_time_ms: int | None = None
    #: How long a type has had waiting jobs but no worker, ms.
    no_worker_ms: int | None = None
    #: Redis's memory usage, percent of its limit.
    redis_memory: float | None = None
    #: Free bytes on the disk of ``folder``.
    disk_free: int | None = None
    folder: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Raise InvalidJob for a threshold that no measurement can have."""
        for name, most in (("failure_rate", 100), ("redis_memory", 100), ("queue_time_ms", None),
                           ("no_worker_ms", None), ("disk_free", None)):  # fmt: skip
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and (not is_number or not 0 <= value <= (most or math.inf)):
                unit = "bytes" if name == "disk_free" else "ms"
                kind = "a percentage from 0 to 100" if most else f"a number of {unit}"
                raise InvalidJob(f"{name} must be {kind}, or None for no alert, not {value!r}")

    @property
    def any_of_queue(self) -> bool:
        """Whether there are rules that any process can evaluate."""
        rules = (self.failure_rate, self.queue_time_ms, self.no_worker_ms, self.redis_memory)
        return any(each is not None for each in rules)


class Condition(NamedTuple):
    """What a rule found."""

    name: str
    """``rule`` or ``rule:what``."""
    level: Level
    text: str
    begin_after_ms: int = 0
    """How long it must be bad before the alert begins."""


def rule_of(name: str) -> str:
    """Return the rule of a condition's name."""
    return name.partition(":")[0]


def failure_rate(rules: AlertRules, complete: int, failed: int) -> Iterator[Condition]:
    """``complete`` and ``failed``: attempts of the last RATE_MINUTES."""
    if rules.failure_rate is None:
        return
    ended = complete + failed
    percent = 100 * failed / ended if ended else 0.0
    if ended < RATE_ATTEMPTS_MIN:
        yield Condition("failure_rate", "good", f"{failed} of {ended} attempts failed in {RATE_MINUTES} min")
        return
    text = f"{percent:.0f}% of {ended:,} attempts failed in {RATE_MINUTES} min (threshold {rules.failure_rate:g}%)"
    yield Condition("failure_rate", _level(percent, rules.failure_rate), text)


def queue_time(rules: AlertRules, waiting_ms: int | None, job: object, job_type: str) -> Iterator[Condition]:
    """``waiting_ms``: for how long the oldest waiting job waits; None if no job does."""
    if rules.queue_time_ms is None:
        return
    if waiting_ms is None:
        yield Condition("queue_time", "good", "no job is waiting")
        return
    threshold = duration_text(rules.queue_time_ms)
    text = f"job {job} ({job_type}) has been waiting for {duration_text(waiting_ms)} (threshold {threshold})"
    yield Condition("queue_time", _level(waiting_ms, rules.queue_time_ms), text)


def no_worker(rules: AlertRules, waiting: Mapping[str, int]) -> Iterator[Condition]:
    """``waiting``: how many jobs of each type wait that no worker takes."""
    if rules.no_worker_ms is None:
        return
    for job_type, count in sorted(waiting.items())[:TYPES_MAX]:
        jobs = "1 job of type %s is" if count == 1 else f"{count:,} jobs of type %s are"
        text = f"{jobs % (job_type or '(no name)')} waiting, but no worker processes that type"
        yield Condition(f"no_worker:{job_type}", "bad", text, rules.no_worker_ms)


def redis_memory(rules: AlertRules, used: int | None, limit: int | None) -> Iterator[Condition]:
    if rules.redis_memory is None:
        return
    if not used or not limit:
        yield Condition("redis_memory", "good", "Redis has no memory limit")
        return
    percent = 100 * used / limit
    text = (
        f"Redis is using {size_text(used)} of its {size_text(limit)} memory limit, {percent:.0f}% "
        f"(threshold {rules.redis_memory:g}%); new jobs will be rejected when it is full"
    )
    # A limit is near: 5 points below it is enough of a gap.
    level: Level = "bad" if percent >= rules.redis_memory else "between"
    yield Condition("redis_memory", "good" if percent < rules.redis_memory - 5 else level, text)


def disk_free(rules: AlertRules, host: str, free: int) -> Iterator[Condition]:
    if rules.disk_free is None:
        return
    threshold = size_text(rules.disk_free)
    text = f"only {size_text(free)} of disk space is free for downloads on {host} (threshold {threshold})"
    level: Level = "bad" if free < rules.disk_free else "between" if free < rules.disk_free / EASED else "good"
    yield Condition(f"disk_free:{host}", level, text)


def _level(value: float, threshold: float) -> Level:
    return "bad" if value >= threshold else "between" if value >= EASED * threshold else "good"
