"""The scenarios that are run once by Node alone and once by Python alone. Adding one is adding an entry to the table.

A scenario is a list of steps; a step names a method of `sides.Side` (or ``wait``, of `tap.Tap`) and its arguments.
Jobs get the ids 1, 2, … in the order of their creation, so steps can name them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DATA = {"title": "welcome", "to": "a@b.c"}
MINUTE = 60_000


@dataclass(frozen=True)
class Step:
    method: str
    args: tuple[Any, ...] = ()
    options: Any = None


def create(data: Any = DATA, **options: Any) -> Step:
    return Step("create", ("email", data), options)


def work(*attempts: list[Any]) -> Step:
    """Start a worker. Each argument is what the handler does in one attempt; the last is repeated."""
    return Step("work", ("email", [*attempts]))


def wait(event: str, times: int = 1, job_id: int = 1) -> Step:
    return Step("wait", (job_id, event, times))


def step(method: str, *args: Any) -> Step:
    return Step(method, args)


FAIL = ["fail", "planned failure"]
HANG = ["hang"]
UNICODE = {"title": "Xin chào thế giới — ¡olé! 日本語 🎉", "é": "\" \\ / \b\f\n\r\t\u0001\u007f\u2028\u2029"}
NUMBERS = [
    0, 1.5, -3, 0.1, 9007199254740991, True, None, 1.0, -0.0, -2.0, 1e-5, 1e-6, 1.5e-7, 1e16, 1e20,
    1e21, "1.0 and 1e-05", 5e-324, 1.7976931348623157e308, 100.05,
]
#: complete, total, and perhaps data.
PROGRESS: list[tuple[Any, ...]] = [
    (1, 3), (5, 3), (-1, 3), (1, 0), (0, 0), (1, 1, "x"), (1, 2, {}), (0.5, 1), (999, 1000),
    (2.0, 3.0, {"rate": 1.0, "eta": 1e-7}), (1, 2, 5.0),
]  # fmt: skip

SCENARIOS: dict[str, list[Step]] = {
    # -- created
    "created": [create()],
    "created with all options": [
        create(priority="high", attempts=5, backoff={"delay": MINUTE, "type": "exponential"}, ttl=30_000,
               remove_on_complete=True),
    ],
    **{f"created with priority {level}": [create(priority=level)] for level in
       ("low", "normal", "medium", "high", "critical", 7, -3, 3.5, -0.0, 2.0, 1e-7)},
    **{f"created with delay {delay}": [create(delay=delay)] for delay in (60_000.7, 600_000.0)},
    "created with ttl 60000.5, active": [create(ttl=60_000.5), work([HANG]), wait("start")],
    "created with a backoff of fractions": [create(attempts=2, backoff={"type": "fixed", "delay": 60_000.0})],
    "promoted by a delay with a fraction": [create(delay=150.5), work([["return", 1]]), wait("complete")],
    "created with no attempts": [create(attempts=0)],
    "created with backoff true": [create(attempts=2, backoff=True)],
    "created with fixed backoff and no delay of its own": [create(attempts=2, backoff={"type": "fixed"})],
    "created with exponential backoff and a bound": [
        create(attempts=3, backoff={"type": "exponential", "delay": 100, "maxDelay": 500}),
    ],
    "created without events": [create(events=False)],
    "created with unicode data": [create(UNICODE)],
    "created with numbers": [create(NUMBERS)],
    "created without data": [create(None)],
    # Not 0, "" and False: Node makes {} of them, and here they are kept (tests/test_job.py).
    **{f"created with data {data!r}": [create(data)] for data in
       ([1, 2], "text", 7, True, {}, [], {"nested": {"deep": [{}]}})},
    "created of a type with special characters": [
        Step("create", (kind, {}), {}) for kind in ("a:b", "a b/c", "*", "email:inactive", "é")
    ],
    "a dozen created": [create({"i": i}, priority=i % 3) for i in range(12)],
    # -- delayed
    "delayed": [create(delay=MINUTE, priority="low")],
    "delayed with ttl and backoff": [create(delay=MINUTE, ttl=500, attempts=3, backoff=True)],
    "promoted by its time": [create(delay=150), work([HANG]), wait("start")],
    "promoted and done": [create(delay=150), work([["return", 1]]), wait("complete")],
    "promoted by hand": [create(delay=MINUTE), step("promote", 1)],
    # -- active
    **{f"active with priority {level}": [create(priority=level), work([HANG]), wait("start")] for level in
       ("low", "normal", "high", 3.5)},
    "active with ttl": [create(ttl=MINUTE), work([HANG]), wait("start")],
    "active with ttl and progress": [
        create(ttl=MINUTE), work([["progress", 1, 4], HANG]), wait("progress"),
    ],
    "active with log": [
        create(), work([["log", "first line"], ["log", "number %d and text %s", 7, "seven"], ["progress", 1, 2], HANG]),
        wait("progress"),
    ],
    # -- complete
    "complete": [create(), work([]), wait("complete")],
    "complete with log, progress, data, result": [
        create(), work([["log", "first line"], ["progress", 1, 4], ["progress", 1, 2, {"step": "half"}],
                        ["return", {"sent": True}]]), wait("complete"),
    ],
    "complete with unicode result": [create(), work([["return", UNICODE]]), wait("complete")],
    **{f"complete with result {result!r}": [create(), work([["return", result]]), wait("complete")] for result in
       (0, "", False, None, "text", 7, [], {}, True, [1, None], 0.0, 2.0, NUMBERS)},
    "progress of all kinds": [
        create(), work([["progress", *args] for args in PROGRESS]), wait("complete"),
    ],
    "complete with remove_on_complete": [create(remove_on_complete=True), work([["return", 5]]), wait("remove")],
    "complete with a ttl that was long enough": [create(ttl=MINUTE), work([["return", 5]]), wait("complete")],
    "complete with attempts to spare": [create(attempts=4), work([]), wait("complete")],
    "three complete, by priority": [
        create({"i": 0}, priority="low"), create({"i": 1}), create({"i": 2}, priority="high"), work([["return", 1]]),
        wait("complete", job_id=1), wait("complete", job_id=2), wait("complete", job_id=3),
    ],
    # -- failed
    "failed for good": [create(), work([FAIL]), wait("failed")],
    "failed for good after log and progress": [
        create(), work([["log", "begun"], ["progress", 1, 2, {"step": "half"}], FAIL]), wait("failed"),
    ],
    "failed with a text": [create(), work([["fail text", "plain string"]]), wait("failed")],
    "failed with a text of two lines": [create(), work([["fail text", "one\ntwo"]]), wait("failed")],
    "failed with an empty message": [create(), work([["fail", ""]]), wait("failed")],
    "failed with unicode and percent signs": [create(), work([["fail", "100% hỏng: %s %d"]]), wait("failed")],
    "failed once, then succeeded": [create(attempts=3), work([FAIL], [["return", {"ok": True}]]), wait("complete")],
    "failed twice, out of attempts": [create(attempts=2), work([FAIL]), wait("failed")],
    "failed once, waiting, no worker left for it": [create(attempts=3), work([FAIL], [HANG]), wait("start", 2)],
    "failed once with delay but no backoff": [create(attempts=2, delay=150), work([FAIL], [HANG]), wait("start", 2)],
    "failed once, fixed backoff": [
        create(attempts=3, backoff={"delay": MINUTE, "type": "fixed"}), work([FAIL]), wait("failed attempt"),
    ],
    "failed once, exponential backoff": [
        create(attempts=3, backoff={"delay": MINUTE, "type": "exponential"}), work([FAIL]), wait("failed attempt"),
    ],
    "failed once, exponential backoff with a bound": [
        create(attempts=3, backoff={"delay": MINUTE, "type": "exponential", "maxDelay": 45_000}), work([FAIL]),
        wait("failed attempt"),
    ],
    "failed once, backoff true without a delay": [
        create(attempts=2, backoff=True), work([FAIL], [HANG]), wait("start", 2),
    ],
    "failed once, backoff true with a delay": [
        create(attempts=3, delay=150, backoff=True), work([FAIL], [HANG]), wait("start", 2),
    ],
    "failed once, fixed backoff from the job's delay": [
        create(attempts=3, delay=150, backoff={"type": "fixed"}), work([FAIL], [HANG]), wait("start", 2),
    ],
    "failed 3 of 4, exponential backoff from the job's delay": [
        create(attempts=4, delay=60, backoff={"type": "exponential"}), work([FAIL], [FAIL], [FAIL], [HANG]),
        wait("start", 4),
    ],
    "failed 4 of 4, exponential backoff": [
        create(attempts=4, backoff={"delay": 40, "type": "exponential"}), work([FAIL]), wait("failed"),
    ],
    "failed with backoff, removed on completion, ttl": [
        create(attempts=2, backoff={"delay": MINUTE, "type": "fixed"}, ttl=5000, remove_on_complete=True, priority=4),
        work([FAIL]), wait("failed attempt"),
    ],
    # -- ttl exceeded
    "ttl exceeded for good": [create(ttl=100), work([HANG]), wait("failed")],
    "ttl exceeded, attempts left": [
        create(ttl=150, attempts=2), work([HANG], [["return", 1]]), wait("complete"),
    ],
    "ttl exceeded, backoff": [
        create(ttl=100, attempts=2, backoff={"delay": MINUTE, "type": "fixed"}), work([HANG]), wait("failed attempt"),
    ],
    "ttl moved on by progress": [
        create(ttl=800), work([*([["sleep", 250], ["progress", 1, 2]] * 4), ["return", 1]]), wait("complete"),
    ],
    # -- removed
    "removed while waiting": [create(), step("remove", 1)],
    "removed while delayed": [create(delay=MINUTE), step("remove", 1)],
    "removed when complete": [create(), work([["log", "x"], ["return", 5]]), wait("complete"), step("remove", 1)],
    "removed when failed": [create(), work([FAIL]), wait("failed"), step("remove", 1)],
    "removed while active": [create(), work([HANG]), wait("start"), step("remove", 1)],
    "one of three removed": [create(), create(), create(), step("remove", 2)],
    # -- changed by hand
    "priority changed while waiting": [create(), step("set_priority", 1, -10)],
    "priority changed while delayed": [create(delay=MINUTE), step("set_priority", 1, 5)],
    "priority changed while active": [create(), work([HANG]), wait("start"), step("set_priority", 1, 5)],
    "priority changed when complete": [create(), work([]), wait("complete"), step("set_priority", 1, 5)],
    **{f"waiting job set {state} by hand": [create(), step("set_state", 1, state)] for state in
       ("inactive", "active", "complete", "failed", "delayed")},
    **{f"failed job set {state} by hand": [
        create(attempts=2), step("set_state", 1, "failed"), step("set_state", 1, state),
    ] for state in ("inactive", "complete", "delayed")},
    "failed job run again": [
        create(), work([FAIL], [["return", 1]]), wait("failed"), step("set_state", 1, "inactive"), wait("complete"),
    ],
    "complete job run again": [
        create(), work([["return", {"first": 1}]]), wait("complete"), step("set_state", 1, "inactive"),
        wait("complete", 2),
    ],
    "delayed job set inactive by hand": [create(delay=MINUTE), step("set_state", 1, "inactive")],
    "saved again while waiting": [create(attempts=3, backoff=True), step("save", 1)],
    "saved again while delayed": [create(delay=MINUTE), step("save", 1)],
    "saved again when complete": [create(), work([["return", 5]]), wait("complete"), step("save", 1)],
    "saved again while active with ttl": [create(ttl=MINUTE), work([HANG]), wait("start"), step("save", 1)],
}

#: Scenarios that are also run with a producer of one kind and a worker of the other, both ways.
TOGETHER = [
    "created with all options",
    "created with unicode data",
    "promoted and done",
    "active with ttl and progress",
    "complete with log, progress, data, result",
    "complete with result 0",
    "complete with remove_on_complete",
    "three complete, by priority",
    "failed with a text",
    "failed once, then succeeded",
    "failed once, fixed backoff",
    "failed once, backoff true with a delay",
    "failed 3 of 4, exponential backoff from the job's delay",
    "failed 4 of 4, exponential backoff",
    "ttl exceeded, attempts left",
    "removed while waiting",
    "removed when complete",
    "priority changed while waiting",
    "failed job run again",
    "saved again while waiting",
]
