"""The arguments and replies of scripts as values, and how to convert them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ..errors import DuplicateJob, InvalidJob, JobNotFound, LeaseLost, WrongState
from .codec import to_json

#: Published by ``Queue.resume`` on the channel of revocations: "id token reason", with an id that no job has.
RESUMED = "* * resumed"
#: The same after a jump of the server's clock: every worker renews its leases immediately (include/clock.lua).
RENEW = "* * renew"

#: Separates the strings of a hash in the reply of ``reserve.lua``. Strings that contain it are only slower.
SEPARATOR = "\x1f"

#: The values of ``complete`` for a handler that returned nothing.
NO_RESULT = ("null", "0")

#: Number of values that ``finish_and_reserve.lua`` takes for each verb, after id and token.
_WIDTHS = {"complete": 2, "fail": 7, "release": 2, "limit": 2}


class ScriptResult(IntEnum):
    """The result code of a script; the Lua files use the same names."""

    OK = 1
    DONE = 0
    """Already done, or nothing to do."""
    GONE = -1
    """No such job."""
    LOST = -2
    """The attempt does not hold the job."""
    WRONG_STATE = -3
    REJECTED = -4
    """Another job has the claim of a job with ``on_duplicate="reject"``."""
    CYCLE = -5
    """A job would wait for itself."""


class ClockWatch(NamedTuple):
    """What a script needs to detect jumps of the server's clock, ms: see ``include/clock.lua``."""

    blind: int = 0
    grace: int = 0
    elapsed: int = 0


#: Do not check the clock.
NO_CLOCK = ClockWatch()


def clock_reply(reply: Sequence[Any]) -> tuple[int, list[tuple[str, int]]]:
    """Return what ``watch_clock.lua`` replied: the server's time, and the overdue jobs with their deadlines."""
    server_ms, flat = reply
    return int(server_ms), [(zid, int(float(deadline))) for zid, deadline in zip(flat[::2], flat[1::2], strict=True)]


class Outcome(NamedTuple):
    """How an attempt ended: a verb, and the arguments of its script after id and token."""

    verb: str
    job_id: str
    token: str
    values: tuple[str, ...]


class Reservation(NamedTuple):
    """A request for jobs: one for each free slot number in ``slots``, by type.

    ``nonce`` identifies the reservation: repeated with ``again``, it returns the jobs that it reserved the first time.
    ``worker`` is the process's name in ``q:workers``.
    """

    slots: Mapping[str, Sequence[int]]
    lease_ms: int
    nonce: str
    worker: str
    again: bool = False

    def arguments(self) -> list[object]:
        """Return the arguments for ``include/transitions/reserve.lua``."""
        arguments: list[object] = [self.lease_ms, self.nonce, self.worker, int(self.again), len(self.slots)]
        for job_type, numbers in self.slots.items():
            arguments += (job_type, len(numbers), *numbers)
        return arguments


class ReservedJob(NamedTuple):
    """A reserved job; ``fields`` is its hash from before the reservation."""

    job_id: str
    token: str
    slot: int
    fields: dict[str, str]


class FetchResult(NamedTuple):
    """The reply to a worker's call: the server's time, a code for each outcome, jobs, and the state of types.

    ``paused``: paused types; ``more``: types of which more jobs may start; ``broken``: types whose keys have the wrong
    type or are denied, each with the error; ``later``: limited types, each with the ms after which more of their jobs
    may start.
    """

    now_ms: int
    codes: list[int]
    jobs: list[ReservedJob]
    paused: list[str]
    more: Sequence[str] = ()
    broken: Mapping[str, str] = {}  # noqa: RUF012
    later: Mapping[str, int] = {}  # noqa: RUF012


def outcome_arguments(outcomes: Sequence[Outcome]) -> list[object]:
    """Return the acknowledgements as arguments for ``finish_and_reserve.lua``."""
    arguments: list[object] = [len(outcomes)]
    for outcome in outcomes:
        if outcome.verb == "complete" and outcome.values == NO_RESULT:
            arguments += ("done", outcome.job_id, outcome.token)
            continue
        arguments += (outcome.verb, outcome.job_id, outcome.token, *outcome.values)
        arguments += [""] * (_WIDTHS[outcome.verb] - len(outcome.values))
    return arguments


def fetch_result(reply: Sequence[Any], codes: Sequence[int], read_hash: Callable[[str], dict[str, str]]) -> FetchResult:
    """Read the reply of ``reserve.lua``. ``read_hash`` returns a job's hash by its id."""
    now, taken, paused, more, broken, later = reply
    faults = dict(zip(broken[::2], broken[1::2], strict=True)) if broken else {}
    waits = dict(zip(later[::2], map(int, later[1::2]), strict=True)) if later else {}
    return FetchResult(int(now), list(codes), reserved_jobs(taken, read_hash), paused, more, faults, waits)


def reserved_jobs(taken: Sequence[Any], read_hash: Callable[[str], dict[str, str]]) -> list[ReservedJob]:
    """Read the jobs of a reply of ``reserve.lua``."""
    jobs = []
    for count, text in zip(taken[::2], taken[1::2], strict=True):
        job_id, token, slot, *flat = text.split(SEPARATOR)
        # Unless one of them contains a separator
        fields = dict(zip(flat[::2], flat[1::2], strict=True)) if len(flat) == count else read_hash(job_id)
        jobs.append(ReservedJob(job_id, token, int(slot), fields))
    return jobs


class Claim(NamedTuple):
    """A unique job's claim, for ``create_unique.lua``; no two jobs of a type may have the same ``text``."""

    text: str
    until: str = "end"
    for_ms: int | None = None
    of_data: bool = False
    on_duplicate: str = "return"

    def argument(self, job_type: str, call: str = "") -> str:
        """Return it as JSON; ``call`` identifies the call, so that a repeated one is recognized."""
        chosen = {name: value for name, value in self._asdict().items() if value is not None}
        return to_json({**chosen, "entry": f"{job_type} {self.text}", "call": call})


class Created(NamedTuple):
    """The reply of ``create_unique.lua``: the job's id, whether it is new, and its hash if it is not."""

    job_id: int
    is_new: bool
    fields: dict[str, str]


class CreatedFlow(NamedTuple):
    """The reply of ``create_flow.lua``: the id of the first created job; the others have the next ids.

    ``others``: by number, those not created: the id of the job with the claim, and whether it still exists; None for
    jobs that only such jobs would have waited for.
    """

    first: int
    others: Mapping[int, tuple[int, bool] | None]


def created_flow(reply: Sequence[Any]) -> CreatedFlow:
    """Read the reply of ``create_flow.lua``. Raises the corresponding error."""
    code, value, *more = reply
    if code == ScriptResult.REJECTED:
        raise DuplicateJob(int(value))
    if code == ScriptResult.CYCLE:
        raise InvalidJob(f"the running job would wait for itself: job {value} already waits for it")
    check(code, value)
    others: dict[int, tuple[int, bool] | None] = {}
    for number, _, text in (pair.partition("=") for pair in (more[0] if more else "").split()):
        others[int(number)] = (abs(int(text)), not text.startswith("-")) if text else None
    return CreatedFlow(int(value), others)


def check(code: int, job_id: object) -> None:
    """Raise the error of a script's code, if it is one."""
    if code == ScriptResult.GONE:
        raise JobNotFound(job_id)
    if code == ScriptResult.LOST:
        raise LeaseLost(job_id)


def previous_state(reply: Sequence[Any], job_id: object, expected: str) -> str:
    """Return a job's previous state from an operator's script. Raises WrongState if it is not in ``expected``."""
    check(reply[0], job_id)
    if reply[0] == ScriptResult.WRONG_STATE:
        raise WrongState(job_id, expected, reply[1])
    return str(reply[1])
