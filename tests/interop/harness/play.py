"""Runs a scenario on a side, and gives what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import redis

from tests.interop.harness.scenarios import Step
from tests.interop.harness.sides import Side
from tests.interop.harness.tap import Tap, normal_events
from tests.support.redis_dump import Dump, dump

#: Node writes some keys after it has said the event that a scenario waits for.
SETTLED_S = 0.1
SETTLE_LIMIT_S = 15.0


@dataclass(frozen=True)
class Outcome:
    """keys: what the scenario left, with its workers still there. events: what was said, job after job."""

    keys: Dump
    events: list[tuple[Any, ...]]


def play(
    steps: list[Step], side: Side, client: redis.Redis, redis_url: str, look: Callable[[], object] = lambda: None
) -> Outcome:
    """Run the steps, call ``look`` when all is quiet, and close the side."""
    try:
        with Tap(redis_url) as tap:
            for step in steps:
                actor = tap if step.method == "wait" else side
                getattr(actor, step.method)(*step.args, **(step.options or {}))
            keys = _settled(client, tap)
            look()
            ids = sorted({int(message["id"]) for message in tap.messages})
            return Outcome(keys, [event for job_id in ids for event in normal_events(tap.of(job_id))])
    finally:
        side.close()


def _settled(client: redis.Redis, tap: Tap) -> Dump:
    """The keys once nothing changes and nothing is said any more."""
    deadline = time.monotonic() + SETTLE_LIMIT_S
    before = dump(client), len(tap.messages)
    while True:
        time.sleep(SETTLED_S)
        after = dump(client), len(tap.messages)
        if after == before:
            return after[0]
        assert time.monotonic() < deadline, "the keys go on changing"
        before = after
