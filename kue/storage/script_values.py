"""The arguments and replies of scripts as values, and how to convert them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ..errors import DuplicateJob, InvalidJob, JobNotFound, LeaseLost, WrongState
from .codec import to_json

#: What ``Queue.resume`` publishes on the channel of revocations: "id token reason", with an id that no job has.
RESUMED = "* * resumed"
#: The same after a jump of the server's clock: every worker renews its leases at once (include/clock.lua).
RENEW = "* * renew"

#: Stands between the texts of a hash in the reply of ``reserve.lua``. A text that holds it is no harm, only slower.
SEPARATOR = "\x1f"

#: The values of ``complete`` for a handler that returned nothing.
NO_RESULT = ("null", "0")

#: How many values ``finish_and_reserve.lua`` takes for each verb, after id and token.
_WIDTHS = {"complete": 2, "fail": 7, "release": 2, "limit": 2}


class ScriptResult(IntEnum):
    """The result of a script's step; the Lua files use the same names for the codes."""

    OK = 1
    DONE = 0
    """This step was made before, or there is nothing to do."""
    GONE = -1
    """There is no such job."""
    LOST = -2
    """The attempt does not hold the job."""
    WRONG_STATE = -3
    REJECTED = -4
    """Another job has the claim of one that is to be rejected then."""
    CYCLE = -5
    """A job would wait for itself."""


class ClockWatch(NamedTuple):
    """What a script needs to tell a jump of the server's clock: see ``include/clock.lua``. ms."""

    blind: int = 0
    grace: int = 0
    elapsed: int = 0


#: Do not look at the clock.
NO_CLOCK = ClockWatch()


class Outcome(NamedTuple):
    """How an attempt ended: a verb and the values that the verb's script takes after id and token."""

    verb: str
    job_id: str
    token: str
    values: tuple[str, ...]


class Reservation(NamedTuple):
    """A request for jobs: one for each free slot number in ``slots``, by type.

    ``nonce`` names the reservation for good: repeated with ``again``, it finds the jobs that it took the first time.
    ``worker`` is the process's name in ``q:workers``.
    """

    slots: Mapping[str, Sequence[int]]
    lease_ms: int
    nonce: str
    worker: str
    again: bool = False

    def arguments(self) -> list[object]:
        """Return it as ``include/reserve.lua`` takes it."""
        arguments: list[object] = [self.lease_ms, self.nonce, self.worker, int(self.again), len(self.slots)]
        for job_type, numbers in self.slots.items():
            arguments += (job_type, len(numbers), *numbers)
        return arguments


class ReservedJob(NamedTuple):
    """A job that a reservation took; ``fields`` is its hash, the fields of the reservation excepted."""

    job_id: str
    token: str
    slot: int
    fields: dict[str, str]


class FetchResult(NamedTuple):
    """The reply to a worker's call: the server's time, a code for each outcome, jobs, and what it found of the types.

    ``paused``: types that nobody may take from; ``more``: types of which more jobs may start; ``broken``: types whose
    keys are of another kind or denied, each with what is wrong; ``later``: types that are limited, each with the ms
    after which more of their jobs may start.
    """

    now_ms: int
    codes: list[int]
    jobs: list[ReservedJob]
    paused: list[str]
    more: Sequence[str] = ()
    broken: Mapping[str, str] = {}  # noqa: RUF012
    later: Mapping[str, int] = {}  # noqa: RUF012


def outcome_arguments(outcomes: Sequence[Outcome]) -> list[object]:
    """Return acknowledgements as ``finish_and_reserve.lua`` takes them."""
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
        # Unless one of them has a separator in it
        fields = dict(zip(flat[::2], flat[1::2], strict=True)) if len(flat) == count else read_hash(job_id)
        jobs.append(ReservedJob(job_id, token, int(slot), fields))
    return jobs


class Claim(NamedTuple):
    """What makes a job unique, for ``create_unique.lua``; ``text`` with the job's type is what two jobs must share."""

    text: str
    until: str = "end"
    for_ms: int | None = None
    of_data: bool = False
    on_duplicate: str = "return"

    def argument(self, job_type: str, call: str = "") -> str:
        """Return it as JSON; ``call`` names the call, so that it is recognised when it is repeated."""
        chosen = {name: value for name, value in self._asdict().items() if value is not None}
        return to_json({**chosen, "entry": f"{job_type} {self.text}", "call": call})


class Created(NamedTuple):
    """What ``create_unique.lua`` answers: the job's id, whether it is new, and its hash if it is not."""

    job_id: int
    is_new: bool
    fields: dict[str, str]


class CreatedFlow(NamedTuple):
    """What ``create_flow.lua`` answers: the id of the first job that was created, the others follow it.

    ``others``: by number, those that were not: the id of the job that has the claim, and whether it is still there;
    None for what only such jobs would have waited for.
    """

    first: int
    others: Mapping[int, tuple[int, bool] | None]


def created_flow(reply: Sequence[Any]) -> CreatedFlow:
    """Read the reply of ``create_flow.lua``. Raises the error that it stands for."""
    code, value, *more = reply
    if code == ScriptResult.REJECTED:
        raise DuplicateJob(int(value))
    if code == ScriptResult.CYCLE:
        raise InvalidJob(f"the running job would wait for itself: job {value} waits for it, and it for job {value}")
    check(code, value)
    others: dict[int, tuple[int, bool] | None] = {}
    for number, _, text in (pair.partition("=") for pair in (more[0] if more else "").split()):
        others[int(number)] = (abs(int(text)), not text.startswith("-")) if text else None
    return CreatedFlow(int(value), others)


def check(code: int, job_id: object) -> None:
    """Raise the error that a script's code stands for, if it stands for one."""
    if code == ScriptResult.GONE:
        raise JobNotFound(job_id)
    if code == ScriptResult.LOST:
        raise LeaseLost(job_id)


def previous_state(reply: Sequence[Any], job_id: object, expected: str) -> str:
    """Return the state that an operator's script found a job in. Raises WrongState if that is none of ``expected``."""
    check(reply[0], job_id)
    if reply[0] == ScriptResult.WRONG_STATE:
        raise WrongState(job_id, expected, reply[1])
    return str(reply[1])
