"""The Lua transitions: one method for each script of ``lua/``.

A method takes the client to use, since workers, producers and other callers have separate connections. ``now_ms`` is
for tests; 0 means the server's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from redis.exceptions import NoScriptError

from ..connection.clients import pipelined, send_all
from ..errors import InvalidJob
from .keys import Keys
from .script_loader import sha, source
from .script_values import (
    NO_CLOCK,
    Claim,
    ClockWatch,
    Created,
    CreatedFlow,
    FetchResult,
    Outcome,
    Reservation,
    ScriptResult,
    check,
    clock_reply,
    created_flow,
    fetch_result,
    outcome_arguments,
    previous_state,
)

#: Maximum number of jobs per ``create`` call: Lua's ``unpack`` has a limit of 8,000 values.
CREATE_MAX = 1000

#: Seconds after which an element expires that no worker has popped from its list, because its process has died.
WAKE_S = 60


class Scripts:
    """The transitions of one queue."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def run(self, client: Any, name: str, *args: object, now_ms: int = 0) -> Any:
        """Call a script by its hash; send its text if the server does not know it (restarted, flushed)."""
        command = self._command(name, now_ms, args)
        try:
            return client.execute_command(*command)
        except NoScriptError:
            return client.execute_command("EVAL", source(name), *command[2:])

    def run_each(self, client: Any, name: str, calls: Sequence[Sequence[object]]) -> list[Any]:
        """Call a script several times in one round trip; a reply may be an error of its call."""
        return self.run_all(client, [(name, *args) for args in calls])

    def run_all(self, client: Any, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """Call scripts, each given as its name and arguments, in one round trip; a reply may be its call's error."""
        replies = send_all(client, [self._command(name, 0, args) for name, *args in calls])
        for at, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                replies[at] = self.run(client, *calls[at])
        return replies

    def _command(self, name: str, now_ms: int, args: Iterable[object]) -> tuple[object, ...]:
        return ("EVALSHA", sha(name), 1, self.keys.jobs, self.keys.prefix, now_ms, *args)

    # A producer

    def create(
        self, client: Any, jobs: Sequence[Sequence[str]], *, lane: str = "", sequence: int = 0, now_ms: int = 0
    ) -> int:
        """Create jobs, each given as the 8 values of ``create.lua``; return the first id; the others have the next ids.

        A ninth value is its search terms, from ``search.found_by``.
        """
        return int(self.run(client, "create", *self._to_create(jobs, lane, sequence), now_ms=now_ms))

    def create_pipelined(self, client: Any, calls: Iterable[tuple[Sequence[Sequence[str]], str, int]]) -> Iterator[int]:
        """Yield the result of ``create`` for each (jobs, lane, sequence); the calls are pipelined.

        After an error, even an unknown script, the connection must be dropped.
        """
        return map(int, pipelined(client, (self._command("create", 0, self._to_create(*call)) for call in calls)))

    def _to_create(self, jobs: Sequence[Sequence[str]], lane: str, sequence: int) -> list[object]:
        arguments: list[object] = [self.keys.lane(lane) if lane else "", sequence, len(jobs)]
        arguments += [value for job in jobs for value in job[:8]]
        if any(len(job) > 8 for job in jobs):
            arguments += [job[8] if len(job) > 8 else "" for job in jobs]
        return arguments

    def create_flow(
        self,
        client: Any,
        jobs: Sequence[Sequence[str]],
        rest: Sequence[object],
        running: tuple[object, str] = ("", ""),
        uniques: Sequence[tuple[int, str]] = (),
        *,
        lane: str = "",
        now_ms: int = 0,
    ) -> CreatedFlow:
        """Create jobs some of which wait for others, all or none.

        ``jobs`` as for ``create``, ``rest``: the further arguments of ``create_flow.lua``. ``running``: id and
        fencing token of a running job that gets children. ``uniques``: numbers of jobs with their claims, from
        ``Claim.argument``. Safe to repeat with the same ``lane``, which must be unique to this call.
        """
        values = [value for job in jobs for value in job[:8]]
        head = (self.keys.lane(lane) if lane else "", 1, len(jobs))
        claims = [len(uniques), *(part for pair in uniques for part in pair)]
        reply = self.run(client, "create_flow", *head, *values, *rest, *running, *claims, now_ms=now_ms)
        return created_flow(reply)

    def create_unique(
        self, client: Any, job: Sequence[str], claim: Claim, call: str = "", *, now_ms: int = 0
    ) -> Created:
        """Create a job, given as for ``create``, unless another one has the same claim.

        Safe to repeat with the same ``call``, which must be unique to this call.
        """
        argument = claim.argument(job[0], call)
        job_id, is_new, *found = self.run(client, "create_unique", "", argument, 1, *job, now_ms=now_ms)
        flat = found[0] if found else []
        return Created(int(job_id), bool(is_new), dict(zip(flat[::2], flat[1::2], strict=True)))

    def claim(self, client: Any, job_id: object, job_type: str, claim: Claim, *, now_ms: int = 0) -> bool:
        """Make a saved job unique; return False if another one has the claim."""
        code = self.run(client, "claim", job_id, claim.argument(job_type), now_ms=now_ms)
        check(code, job_id)
        return bool(code == ScriptResult.OK)

    def update(
        self,
        client: Any,
        job_id: object,
        fields: dict[str, str],
        found_by: str = "",
        found_by_changed: bool = True,
        *,
        now_ms: int = 0,
    ) -> None:
        flat = [part for pair in fields.items() for part in pair]
        args = (job_id, found_by, int(found_by_changed), *flat)
        code = self.run(client, "update", *args, now_ms=now_ms)
        if code == ScriptResult.WRONG_STATE:
            raise InvalidJob(f"the type of job {job_id} cannot be changed to {fields['type']!r}: create a new job")
        check(code, job_id)

    def set_priority(self, client: Any, job_id: object, priority: str, found_by: str = "", *, now_ms: int = 0) -> None:
        check(self.run(client, "set_priority", job_id, priority, found_by, now_ms=now_ms), job_id)

    def search(
        self, client: Any, groups: Sequence[Sequence[str]], limit: int = -1, *, of_node: bool = False
    ) -> list[str]:
        """Return the ids that are in at least one key (named without the prefix) of every group, best first.

        ``of_node``: only jobs that are in Node's index but not in ours.
        """
        flat = [part for group in groups for part in (len(group), *group)]
        return list(self.run(client, "search", limit, int(of_node), *flat))

    # A worker

    def reserve(self, client: Any, reservation: Reservation, *, now_ms: int = 0) -> FetchResult:
        """Reserve up to one job for each free slot."""
        return self._fetched(client, self.run(client, "reserve", *reservation.arguments(), now_ms=now_ms))

    def wait_and_reserve(
        self, client: Any, keys: Sequence[str], block_s: float, reservation: Reservation
    ) -> FetchResult:
        """Wait up to ``block_s`` seconds for an element in one of the lists ``keys``, then reserve.

        If the client supports it, both commands are pipelined, which saves a round trip.
        """
        arguments = reservation.arguments()
        answers = pipelined(client, [("BLPOP", *keys, block_s), self._command("reserve", 0, arguments)])
        next(answers)
        try:
            return self._fetched(client, next(answers))
        except NoScriptError:
            return self._fetched(client, self.run(client, "reserve", *arguments))

    def finish_and_reserve(
        self, client: Any, outcomes: Sequence[Outcome], reservation: Reservation, *, now_ms: int = 0
    ) -> FetchResult:
        """Acknowledge ``outcomes`` and reserve, in one call."""
        arguments = [*outcome_arguments(outcomes), *reservation.arguments()]
        now, codes, *reply = self.run(client, "finish_and_reserve", *arguments, now_ms=now_ms)
        return self._fetched(client, [now, *reply], codes)

    def _fetched(self, client: Any, reply: Sequence[Any], codes: Sequence[int] = ()) -> FetchResult:
        return fetch_result(reply, codes, lambda job_id: client.hgetall(self.keys.job(job_id)))

    def wake(self, client: Any, engine: str) -> None:
        """Wake up a worker process."""
        self.run(client, "wake", engine, WAKE_S)

    def acknowledge(self, client: Any, outcome: Outcome, *, now_ms: int = 0) -> ScriptResult:
        """Acknowledge one attempt with its verb's script."""
        verb, *arguments, values = outcome
        return ScriptResult(self.run(client, verb, *arguments, *values, now_ms=now_ms))

    def progress(
        self, client: Any, job_id: object, token: str, percent: int, data: str, keep_data: bool, *, now_ms: int = 0
    ) -> None:
        check(self.run(client, "progress", job_id, token, percent, data, int(keep_data), now_ms=now_ms), job_id)

    def log(self, client: Any, job_id: object, token: str, line: str, *, again: bool = False, now_ms: int = 0) -> None:
        """Append a line to a job's log; ``again``: retry after a lost reply, so it may be there already."""
        check(self.run(client, "log", job_id, token, line, int(again), now_ms=now_ms), job_id)

    def renew(self, client: Any, tokens: Iterable[tuple[str, str]], *, lease_ms: int, now_ms: int = 0) -> list[str]:
        """Renew the leases of ``tokens`` (pairs of id and token); return the ids whose lease was lost."""
        flat = [part for pair in tokens for part in pair]
        return list(self.run(client, "renew", lease_ms, *flat, now_ms=now_ms))

    def isolate(
        self, client: Any, job_id: object, token: str, line: str, *, alone: bool, now_ms: int = 0
    ) -> ScriptResult:
        """Record that an attempt starts only now, or still waits; ``alone``: its process runs nothing else.

        ``line`` goes to the job's log, unless it is "".
        """
        return ScriptResult(self.run(client, "isolate", job_id, token, line, int(alone), now_ms=now_ms))

    def take_slot(self, client: Any, name: str, job_id: object, token: str, slots: int) -> int:
        """Let a running attempt take one of ``slots``; return 0, or the number of holders if all are taken."""
        return int(self.run(client, "take_slot", name, job_id, token, slots))

    def return_slot(self, client: Any, name: str, job_id: object, token: str) -> None:
        client.srem(self.keys.slots(name), f"{job_id} {token}")

    # Maintenance

    def promote(self, client: Any, limit: int = 1000, *, now_ms: int = 0) -> tuple[int, int]:
        """Promote due jobs; return how many, and the ms until the next one is due (-1: there is none)."""
        promoted, next_ms = self.run(client, "promote", limit, now_ms=now_ms)
        return int(promoted), int(next_ms)

    def balance(self, client: Any, period_ms: int = 0, *, now_ms: int = 0) -> None:
        """Restore the wake-up tokens of waiting jobs, unless another process did so within ``period_ms``."""
        self.run(client, "restore_tokens", period_ms, now_ms=now_ms)

    def sweep_flows(self, client: Any, period_ms: int = 0, *, now_ms: int = 0) -> int:
        """Count children of waiting jobs that ended without our scripts; return the number of parents checked.

        -1: another process did it within ``period_ms``.
        """
        return int(self.run(client, "sweep_flows", period_ms, now_ms=now_ms))

    def timeout(
        self,
        client: Any,
        job_id: object,
        deadline: int,
        attempts: int,
        retry: str,
        delay: str,
        note: str,
        *,
        clock: ClockWatch = NO_CLOCK,
        now_ms: int = 0,
    ) -> ScriptResult:
        args = (job_id, deadline, attempts, retry, delay, note, *clock)
        return ScriptResult(self.run(client, "timeout", *args, now_ms=now_ms))

    def watch_clock(
        self, client: Any, clock: ClockWatch, limit: int = 0, *, now_ms: int = 0
    ) -> tuple[int, list[tuple[str, int]]]:
        """Adjust leases, deadlines and delays if the server's clock has jumped.

        Returns its time, epoch ms, and up to ``limit`` members of ``q:jobs:active`` past their deadline, with it.
        """
        return clock_reply(self.run(client, "watch_clock", *clock, limit, now_ms=now_ms))

    def rescue(
        self,
        client: Any,
        *,
        limit: int = 1000,
        dead_worker: str = "",
        until_ms: int = 0,
        clock: ClockWatch = NO_CLOCK,
        now_ms: int = 0,
    ) -> list[str]:
        """Rescue jobs with an expired lease, or all of ``dead_worker`` ("kue:host:pid.id"); return their ids.

        ``until_ms`` (server's epoch ms, 0: none): a call that is executed later does nothing.
        """
        args = (limit, dead_worker, until_ms, *clock)
        return list(self.run(client, "rescue", *args, now_ms=now_ms))

    def retain(
        self,
        client: Any,
        state: str,
        keep: int | None,
        max_age_ms: int | None,
        *,
        limit: int,
        rank: int,
        grace_ms: int,
        now_ms: int = 0,
    ) -> tuple[int, bool, int]:
        """Remove ended jobs beyond a count or an age; return how many, whether there are more, and the next rank."""
        most, oldest = ("" if each is None else each for each in (keep, max_age_ms))
        answer = self.run(client, "retain", state, most, oldest, limit, rank, grace_ms, now_ms=now_ms)
        return int(answer[0]), bool(answer[1]), int(answer[2])

    # An operator

    def move(self, client: Any, job_id: object, to: str, sources: Sequence[str] = (), *, now_ms: int = 0) -> str:
        """Move a job to state ``to``, if it is in one of ``sources`` (empty: any); return its previous state."""
        allowed = f",{','.join(sources)}," if sources else ""
        answer = self.run(client, "move", job_id, to, allowed, now_ms=now_ms)
        return previous_state(answer, job_id, " or ".join(sources))

    def cancel(
        self, client: Any, job_id: object, reason: str = "cancelled", *, children: bool = False, now_ms: int = 0
    ) -> str:
        """Fail a job as cancelled; return its previous state. Its worker receives ``reason``.

        With ``children``, also cancel its descendants; the job itself may have ended.
        """
        answer = self.run(client, "cancel", job_id, reason, int(children), now_ms=now_ms)
        if children and answer[0] == ScriptResult.WRONG_STATE:
            return str(answer[1])
        return previous_state(answer, job_id, "inactive, delayed or active")

    def set_limit(self, client: Any, job_type: str, part: str, limit: str, weights: Sequence[str]) -> bool:
        """Limit a type ("all") or each of its keys ("key"), or remove the limit with ""; return whether it changed.

        ``limit`` is JSON, ``weights`` alternates keys and weights.
        """
        return bool(self.run(client, "set_limit", job_type, part, limit, *weights))

    def suspend(self, client: Any, job_id: object, *, now_ms: int = 0) -> str:
        """Suspend a job until somebody promotes it; return its previous state."""
        answer = self.run(client, "suspend", job_id, now_ms=now_ms)
        return previous_state(answer, job_id, "inactive, delayed or active")

    def remove(self, client: Any, job_id: object, *, children: bool = False, now_ms: int = 0) -> None:
        """Remove a job; with ``children``, also its descendants."""
        check(self.run(client, "remove", job_id, 0, int(children), now_ms=now_ms), job_id)

    def tidy(self, client: Any, job_id: object) -> None:
        """Remove the set members of a job without a hash, as Node does when it finds one."""
        self.run(client, "remove", job_id, 1)
