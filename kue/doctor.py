"""The doctor: find inconsistencies left in a queue by crashes, Node Kue or accidents, and repair them on request.

It may run while workers of either kind are active. Each check of a job is one atomic script; since Node Kue changes a
job in several steps, a problem is reported only if it is unchanged some time later. All keys are scanned with cursors.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from redis.exceptions import RedisError, ResponseError

from .connection.failures import is_transient, unavailable
from .errors import KueError
from .management import flow_examination, limit_examination
from .queue import Queue
from .schedules import examination
from .states import STATES
from .storage.codec import number
from .storage.keys import id_of, zid
from .webhooks import examination as webhook_examination

#: Seconds between two checks of a suspected problem.
SETTLE_S = 1.0
#: Further checks of a recently changed job, which Node Kue may be changing right now. Others get one.
LOOKS = 4
#: Time since its last change after which no process is changing a job, ms.
QUIET_MS = 10_000
#: The same for missing tokens: any working process restores them within 3 s.
TOKENS_SETTLE_S = 4.0
#: Jobs checked per script call: a few ms of the server's time.
CHUNK = 100
#: Number of suspected problems collected before they are checked again.
SUSPECTS_MAX = 10_000
#: Tokens without a job are normal (each removal of a waiting job leaves one); more of them than this are reported.
SURPLUS_TOKENS = 1000
#: How often a suspected problem may change between checks: more often means that the job is in use.
CHANGES_MAX = 4
#: Larger numbers cannot be ids from the counter.
ID_MAX = 2**53 - 1


class Finding(NamedTuple):
    """A problem: ``job_id`` (None if it concerns no single job), what is wrong, whether it is fixed, and the repair."""

    job_id: int | str | None
    what: str
    fixed: bool
    repair: str


#: code: what is wrong, and what a repair does. ``{0}`` is the detail that the script gives.
_SENTENCES = {
    "nothash": ("its key is a {0}, not a hash", "none: inspect it with redis-cli"),
    "nohash": ("in {0}, but there is no such job", "removed"),
    "notype": ("in {0}, but its hash has no type, so it is not a job", "removed"),
    "lease": ("a lease, but the job is {0}", "lease removed"),
    "log": ("a log, but there is no such job", "log removed"),
    "search": ("{0}, but there is no such job", "removed from the search index"),
    "type": ('its type "{0}" is not in job:types', "type added"),
    "priority": ('its priority "{0}" is not a number', "set to 0"),
    "unowned": ("active, but no worker holds its lease", "moved to inactive"),
    "silent": (
        "active without a change for a day; its worker {0} is not of this library",
        "none: if that worker no longer runs, cancel and retry the job",
    ),
    "aside": ('delayed for the limit of key "{0}", but not in its line', "moved to inactive"),
    "missing": ("not in {0}", "added"),
    "surplus": ("also in {0}", "removed"),
    "score": ("a wrong score in {0}", "score corrected"),
}
#: What a repair leaves alone.
_NOT_REPAIRED = ("nothash", "silent")


def examine(
    queue: Queue, fix: bool = False, *, settle_s: float | None = None, tokens_settle_s: float | None = None
) -> Iterator[Finding]:
    """Yield the problems of a queue; with ``fix``, repair each one first.

    A repair never loses a job that can be recovered: one with a type is put back into the sets of its state; one
    without a valid state is queued again if it never ran, and fails otherwise. ``settle_s``, ``tokens_settle_s``:
    seconds between the checks of a problem; None for SETTLE_S, TOKENS_SETTLE_S. Raises QueueUnavailable.
    """
    try:
        pause = SETTLE_S if settle_s is None else settle_s
        yield from _Doctor(queue, fix, pause, TOKENS_SETTLE_S if tokens_settle_s is None else tokens_settle_s).run()
    except (RedisError, OSError) as exc:
        if is_transient(exc):
            raise unavailable(exc) from None
        if isinstance(exc, ResponseError):
            raise KueError(f"the queue cannot be examined: {exc}") from exc
        raise


class _Suspect:
    """A job with a suspected problem. ``sets``: further keys that contain it; ``signature``: its state when checked.

    ``looks``: how many more checks must find it unchanged before it is reported.
    """

    __slots__ = ("changes", "looks", "sets", "signature")

    def __init__(self) -> None:
        self.sets: set[str] = set()
        self.signature = ""
        self.looks = self.changes = 0

    def looked(self, signature: str, quiet_ms: int) -> None:
        self.signature = signature
        self.looks = 1 if quiet_ms >= QUIET_MS else LOOKS


class _Doctor:
    def __init__(self, queue: Queue, fix: bool, settle_s: float, tokens_settle_s: float) -> None:
        self._queue, self._keys, self._scripts = queue, queue.keys, queue.session.scripts
        self._fix, self._settle_s, self._tokens_settle_s = fix, settle_s, tokens_settle_s
        self._client = queue.session.connector.shared()
        self._suspects: dict[str, _Suspect] = {}
        self._told: set[tuple[str, str]] = set()
        self._types: set[str] = set()
        self._parents: set[str] = set()
        self._highest = 0

    def run(self) -> Iterator[Finding]:
        for kind, keys in self._all_keys():
            if kind == "zset":
                for key in keys:
                    yield from self._walk(key)
            else:
                ids = [self._owner(key) for key in keys]
                if kind == "hash":
                    numbers = (int(job_id) for job_id in ids if job_id.isdecimal() and len(job_id) < 17)
                    self._highest = max(self._highest, *(each for each in numbers if each <= ID_MAX), 0)
                yield from self._look(ids)
        yield from self._confirm()
        yield from self._check_types()
        for found, fixed in self._flows_claims_and_limits():
            yield Finding(found.job_id, found.what, fixed, found.repair or "nothing: look at it with redis-cli")
        for trouble, fixed in examination.examine(self._client, self._scripts, self._fix, self._settle_s):
            what = f'schedule "{trouble.name}": {trouble.what}' if trouble.name else trouble.what
            yield Finding(None, what, fixed, trouble.repair or "nothing: look at it with redis-cli")
        hooks = webhook_examination.examine(self._client, self._scripts, self._fix, self._settle_s)
        for wrong, fixed in hooks:
            yield Finding(None, wrong.what, fixed, wrong.repair or "nothing: look at it with redis-cli")

    def _flows_claims_and_limits(self) -> Iterator[tuple[flow_examination.Trouble, bool]]:
        flows = flow_examination.examine_flows(self._client, self._scripts, self._parents, self._fix, self._settle_s)
        claims = flow_examination.examine_claims(self._client, self._scripts, self._fix)
        return chain(flows, claims, limit_examination.examine_limits(self._client, self._keys))

    # Scanning

    def _all_keys(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the queue's keys in chunks: "hash" (jobs), "zset" (sets of jobs) or "leavings" (leftovers)."""
        prefix = self._keys.prefix
        batch: list[str] = []
        for key in self._client.scan_iter(match=f"{_escape(prefix)}:*", count=1000):
            if key.startswith((f"{prefix}:job", f"{prefix}:search:")) or key == self._keys.leases:
                batch.append(key)
            if len(batch) >= CHUNK:
                yield from self._sorted(batch)
                batch = []
        yield from self._sorted(batch)

    def _sorted(self, keys: list[str]) -> Iterator[tuple[str, list[str]]]:
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        kinds: dict[str, list[str]] = {"hash": [], "zset": [], "leavings": []}
        for key, kind in zip(keys, pipe.execute() if keys else [], strict=True):
            job_key = self._keys.job("")
            if kind == "hash" and key.startswith(job_key):
                kinds["hash"].append(key)
            elif kind == "list" and key.startswith(job_key) and key.endswith(":log"):
                kinds["leavings"].append(key)
            elif kind == "zset" and key.startswith(job_key) and key.endswith(":children"):
                self._parents.add(key.removeprefix(job_key).removesuffix(":children"))
            elif kind == "zset" and ":search:" in key and ":object:" in key:
                kinds["leavings"].append(key)
            elif kind == "zset":
                kinds["zset"].append(key)
        yield from kinds.items()

    def _owner(self, key: str) -> str:
        """Return the job id in the key of a hash, a log or a search object."""
        job_key = self._keys.job("")
        if key.startswith(job_key):
            return key.removeprefix(job_key).removesuffix(":log")
        return key.partition(":object:")[2]

    def _walk(self, key: str) -> Iterator[Finding]:
        """Check each member of a set."""
        rest = key.removeprefix(f"{self._keys.jobs}:")
        words: tuple[str, str, str]
        if key == self._keys.jobs:
            words = ("jobs", "", "")
        elif key == self._keys.leases or key.startswith(f"{self._keys.prefix}:search:"):
            words = ("ids", "", "")
        elif rest in STATES:
            words = ("state", "", rest)
        else:
            job_type, _, state = rest.rpartition(":")
            words = ("type", job_type, state) if state in STATES else ("state", "", "")
            if state in STATES:
                self._types.add(job_type)
        cursor = -1
        while cursor != 0:
            cursor, found = self._client.zscan(key, max(cursor, 0), count=500)
            members = [member for member, _ in found]
            for at in range(0, len(members), CHUNK):
                wrong = self._scripts.run(self._client, "doctor_members", *words, *members[at : at + CHUNK])
                yield from self._suspect_members(key, words[0], wrong)

    def _suspect_members(self, key: str, kind: str, members: list[str]) -> Iterator[Finding]:
        ids = []
        for member in members:
            job_id = member if kind == "ids" else str(id_of(member))
            if kind != "ids" and zid(job_id) != member:  # cannot become valid
                if self._fix:
                    self._client.zrem(key, member)
                yield Finding(None, f'{key} contains "{member}", which is not a job id', self._fix, "removed")
                continue
            ids.append(job_id)
            if key != self._keys.leases:
                self._suspects.setdefault(job_id, _Suspect()).sets.add(key)
        yield from self._look(ids)

    # Checking

    def _look(self, ids: list[str]) -> Iterator[Finding]:
        """Check jobs; remember suspected problems for a second check."""
        for at in range(0, len(ids), CHUNK):
            part = dict.fromkeys(ids[at : at + CHUNK])
            answers = {answer[0]: answer for answer in self._ask({job_id: "" for job_id in part})}
            for job_id in part:
                if job_id in answers:
                    self._suspects.setdefault(job_id, _Suspect()).looked(*answers[job_id][1:3])
                else:
                    self._suspects.pop(job_id, None)
        if len(self._suspects) >= SUSPECTS_MAX:
            yield from self._confirm()

    def _confirm(self) -> Iterator[Finding]:
        """Check suspected problems again after a pause; report (and repair) those that are unchanged."""
        while self._suspects:
            time.sleep(self._settle_s)
            looked, self._suspects = self._suspects, {}
            ids = list(looked)
            for at in range(0, len(ids), CHUNK):
                part = {job_id: looked[job_id] for job_id in ids[at : at + CHUNK]}
                expected = {job_id: each.signature if each.looks == 1 else "" for job_id, each in part.items()}
                for answer in self._ask(expected, looked):
                    yield from self._confirmed(looked[answer[0]], answer)

    def _confirmed(self, suspect: _Suspect, answer: list[Any]) -> Iterator[Finding]:
        job_id, signature, quiet_ms = answer[:3]
        fixed = signature.startswith("fixed ")
        if not fixed and signature != suspect.signature:
            suspect.changes += 1
            suspect.looked(signature, quiet_ms)
            if suspect.changes < CHANGES_MAX:
                self._suspects[job_id] = suspect
            return
        suspect.looks -= 1
        if suspect.looks > 0:
            self._suspects[job_id] = suspect
            return
        for code, detail in zip(answer[3::2], answer[4::2], strict=True):
            what, repair = _sentence(code, detail)
            if (job_id, what) not in self._told:
                self._told.add((job_id, what))
                yield Finding(id_of(f"|{job_id}"), what, fixed and code not in _NOT_REPAIRED, repair)

    def _ask(self, ids: dict[str, str], suspects: dict[str, _Suspect] | None = None) -> list[list[Any]]:
        args: list[object] = [len(ids)]
        for job_id, signature in ids.items():
            suspect = (self._suspects if suspects is None else suspects).get(job_id)
            sets = sorted(suspect.sets) if suspect is not None else []
            args += (job_id, signature if self._fix else "", len(sets), *sets)
        return list(self._scripts.run(self._client, "doctor", *args))

    # Problems of no single job

    def _check_types(self) -> Iterator[Finding]:
        self._types |= set(self._client.smembers(self._keys.types))
        types = sorted(self._types)
        lasting = self._token_troubles(types)
        give_up = time.monotonic() + self._tokens_settle_s
        while lasting and time.monotonic() < give_up:  # a worker may have taken a token but not yet its job
            time.sleep(min(0.25, self._tokens_settle_s))
            lasting = {name: now for name, now in self._token_troubles(list(lasting)).items() if name in lasting}
        last = number(self._client.get(self._keys.ids)) or 0
        if lasting or last < self._highest:
            if self._fix:
                self._run_types(list(lasting), fix=True)
            for name, (waiting, tokens) in lasting.items():
                what = f'type "{name}": {waiting} waiting jobs, {tokens} tokens in {self._keys.tokens(name)}'
                yield Finding(None, what, self._fix, "one token per waiting job")
            if last < self._highest:
                what = f"{self._keys.ids} is {last}, below the highest id {self._highest}: new jobs would replace old"
                yield Finding(None, what, self._fix, f"set to {self._highest}")

    def _token_troubles(self, types: list[str]) -> dict[str, tuple[int, int]]:
        counts = self._run_types(types)
        return {
            name: (waiting, tokens)
            for name, (waiting, tokens) in zip(types, counts, strict=True)
            if not waiting <= tokens <= waiting + SURPLUS_TOKENS
        }

    def _run_types(self, types: list[str], fix: bool = False) -> list[list[int]]:
        counts: list[list[int]] = []
        for at in range(0, max(1, len(types)), CHUNK):
            part = types[at : at + CHUNK]
            counts += self._scripts.run(self._client, "doctor_types", int(fix), self._highest if fix else 0, *part)[1]
        return counts


def _sentence(code: str, detail: str) -> tuple[str, str]:
    if code == "state":
        found, _, target = detail.rpartition(">")
        return (f'an unknown state "{found}"' if found else "no state"), f"set to {target}"
    what, repair = _SENTENCES[code]
    return what.format(detail or "no set"), repair


def _escape(prefix: str) -> str:
    """Return the prefix as a pattern that matches only itself."""
    return "".join(f"\\{letter}" if letter in "*?[]\\^-" else letter for letter in prefix)
