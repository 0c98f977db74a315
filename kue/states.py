"""The state machine of a job, in one place.

    create ──> delayed ──promote──> inactive ──reserve──> active ──complete──> complete
       └──────────────────────────────^  ^                  │ │
                                      │  └─release, rescue──┘ ├──fail (attempts left, backoff)──> delayed
                                      │                       ├──release (for a while)──────────> delayed
                                      └──fail (attempts left)─┤
                                                              └──fail (none left)──────────────> failed

``inactive``: waiting. In by create, promote, fail, release, rescue or by hand; out by reserve, lowest priority first.
``delayed``: waiting for its time. Out by promote, which every process with workers runs, within 100 ms of the time.
``active``: a worker holds it, under a token and a lease. Out by the worker, by its ttl, or by rescue after the lease.
    A suspended job is delayed until HOLD_UNTIL_MS, and resumes when an operator promotes it.
    One of a type with a limit by key is delayed until ASIDE_UNTIL_MS: reserve takes it when its key has its turn.
``complete``, ``failed``: done. They stay until removed, retried by hand, or trimmed by retention.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from .errors import InvalidJob

INACTIVE: Final = "inactive"
ACTIVE: Final = "active"
COMPLETE: Final = "complete"
FAILED: Final = "failed"
DELAYED: Final = "delayed"

STATES: Final = (INACTIVE, ACTIVE, COMPLETE, FAILED, DELAYED)

#: Due time of a suspended job, epoch ms: the last second of the year 9999, which every program can display.
HOLD_UNTIL_MS: Final = 253_402_300_799_000

#: Due time of a job that waits for its children, epoch ms.
WAIT_UNTIL_MS: Final = HOLD_UNTIL_MS - 1000

#: Due time of a job that waits for its key's turn under a limit, epoch ms.
ASIDE_UNTIL_MS: Final = HOLD_UNTIL_MS - 2000

#: Events of one job, as they are spelled on the channel. ``rescue``, ``cancel``, ``postpone``, ``duplicate`` and
#: ``child`` are ours, the rest Node Kue's.
EVENTS: Final = (
    "enqueue",
    "start",
    "promotion",
    "progress",
    "failed attempt",
    "failed",
    "complete",
    "remove",
    "error",
    "ttl exceeded",
    "ttl exceeded ack",
    "rescue",
    "cancel",
    "postpone",
    "duplicate",
    "child",
)

#: The last event of a job is one of these.
TERMINAL_EVENTS: Final = ("complete", "failed", "remove")


class Transition(NamedTuple):
    """A state transition. ``script`` is the Lua file that performs it atomically."""

    script: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    events: tuple[str, ...]
    who: str


TRANSITIONS: Final = (
    Transition("create", (), (INACTIVE, DELAYED), ("enqueue",), "a producer"),
    Transition(
        "create_unique",
        (),
        (INACTIVE, DELAYED),
        ("enqueue", "duplicate"),
        "a producer, if there is no such job yet; it may change the one that waits",
    ),
    Transition("create_flow", (), (INACTIVE, DELAYED), ("enqueue",), "a producer; parents are delayed"),
    Transition(
        "fire_schedule",
        (),
        (INACTIVE, DELAYED),
        ("enqueue", "cancel", "error", "failed"),
        "any process with workers, on a timer; may cancel the schedule's last job",
    ),
    Transition(
        "dispatch_webhooks", (), (INACTIVE,), ("enqueue",), "any process with workers, for events that webhooks want"
    ),
    Transition("run_schedule", (), (INACTIVE, DELAYED), ("enqueue",), "an operator, besides a schedule's times"),
    Transition(
        "reserve",
        (INACTIVE, DELAYED),
        (ACTIVE, DELAYED),
        ("start", "postpone"),
        "a worker with a free slot; of a type with a limit by key, jobs step aside until their key has its turn",
    ),
    Transition("complete", (ACTIVE,), (COMPLETE,), ("complete", "remove"), "the worker that holds the attempt"),
    Transition(
        "fail",
        (ACTIVE,),
        (INACTIVE, DELAYED, FAILED),
        ("error", "enqueue", "failed attempt", "failed"),
        "the worker that holds the attempt",
    ),
    Transition(
        "release",
        (ACTIVE,),
        (INACTIVE, DELAYED),
        ("enqueue", "postpone"),
        "a worker that stops, or a handler that cannot go on now; the attempt is not counted",
    ),
    Transition("limit", (ACTIVE,), (DELAYED,), ("postpone",), "a handler that is rate limited; no attempt is counted"),
    Transition("promote", (DELAYED,), (INACTIVE,), ("promotion", "enqueue"), "any process with workers, on a timer"),
    Transition(
        "timeout",
        (ACTIVE,),
        (INACTIVE, DELAYED, FAILED),
        ("ttl exceeded", "error", "ttl exceeded ack", "enqueue", "failed attempt", "failed"),
        "any process with workers, on a timer",
    ),
    Transition("rescue", (ACTIVE,), (INACTIVE, FAILED), ("rescue", "enqueue", "failed"), "any process with workers"),
    Transition("cancel", (INACTIVE, DELAYED, ACTIVE), (FAILED,), ("cancel", "failed"), "an operator"),
    Transition("suspend", (INACTIVE, DELAYED, ACTIVE), (DELAYED,), ("postpone",), "an operator; no attempt is counted"),
    Transition("move", STATES, STATES, ("enqueue",), "an operator; takes the lease from a worker that held it"),
    Transition("remove", STATES, (), ("remove",), "an operator, or complete with removeOnComplete"),
)


def check_state(state: str) -> str:
    """Return ``state`` if it is valid; raise InvalidJob otherwise."""
    if state not in STATES:
        raise InvalidJob(f"state must be one of {', '.join(STATES)}, not {state!r}")
    return state
