"""Retention: remove old completed and failed jobs by the user's rules, in a maintenance task or ``clean``."""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from typing import Any, NamedTuple

from ..durations import in_ms
from ..errors import InvalidJob
from ..states import COMPLETE, FAILED
from ..storage.scripts import Scripts

log = logging.getLogger("kue.retention")

#: Interval between sweeps, seconds. In between, a state may hold more jobs than the rule allows.
RETAIN_S = 1.0
#: Jobs removed per script call: a few ms of the server's time.
BATCH = 500
#: A job is never removed within this time of its end, ms: a listener may be about to read it, and a Node worker writes
#: its last field after the job is complete. For a failed one with attempts left it is a minute: see retain.lua.
GRACE_MS = 1000

ENDED = (COMPLETE, FAILED)


class Rule(NamedTuple):
    """What to keep of one state; None means no limit."""

    keep: int | None = None
    max_age_ms: int | None = None

    @property
    def limits(self) -> bool:
        return self != Rule()


class Retention:
    """The rules of one queue in this process, and the state of its sweeps."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self.rules: dict[str, Rule] = {}
        self._ranks = dict.fromkeys(ENDED, 0)

    def set(self, rules: dict[str, Rule]) -> None:
        self.rules = {state: rule for state, rule in rules.items() if rule.limits}

    def run(self, client: Any) -> float:
        """A maintenance task: remove one batch of each state; return the seconds until its next run."""
        pause = RETAIN_S
        for state, rule in self.rules.items():
            removed, more, self._ranks[state] = self._scripts.retain(
                client, state, rule.keep, rule.max_age_ms, limit=BATCH, rank=self._ranks[state], grace_ms=GRACE_MS
            )
            if removed:
                log.debug("retention removed %d %s jobs", removed, state)
            if more:
                pause = 0.0
        return pause


def clean(scripts: Scripts, client: Any, state: str, rule: Rule) -> int:
    """Remove immediately all jobs of an ended state that the rule does not keep; return their number."""
    total = rank = 0
    if not rule.limits:
        return 0
    while True:
        removed, more, rank = scripts.retain(
            client, state, rule.keep, rule.max_age_ms, limit=BATCH, rank=rank, grace_ms=0
        )
        total += removed
        if not more and rank == 0:
            return total


def rule(keep: Any, max_age: Any) -> Rule:
    """Return a validated rule. ``max_age``: ms, or a timedelta. Raises InvalidJob."""
    if isinstance(max_age, timedelta):
        max_age = math.floor(in_ms(max_age))
    for name, value in (("a count of jobs to keep", keep), ("max_age in ms", max_age)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise InvalidJob(f"{name} must be a whole number, 0 or more, or None for no limit, not {value!r}")
    return Rule(keep, max_age)
