"""The state machine of a queue in plain Python, as its documents tell it: what operations must leave in Redis.

Written from docs/reference/redis-keys.md and the headers of the scripts, not from their text: each method is one
transition, and says the events that it causes. Times are epoch ms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STATES = ("inactive", "active", "complete", "failed", "delayed")
ENDED = ("complete", "failed")
LEASE_MS = 10_000
#: Deaths of workers in a row that make a job suspect.
SUSPECT_FROM = 2
#: A Node worker's overdue job is left to Node's own watcher for so long.
NODE_GRACE_MS = 5_000
HOLD_UNTIL_MS = 253_402_300_799_000


@dataclass
class Job:
    """A job: its hash without ``token`` and ``attempt_log``, and what stands beside the hash."""

    id: int
    fields: dict[str, str]
    log: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    token: str | None = None
    lease: int | None = None
    deadline: int = 0
    node_runs: bool = False

    @property
    def zid(self) -> str:
        return f"{len(str(self.id)):02d}|{self.id}"

    @property
    def type(self) -> str:
        return self.fields["type"]

    @property
    def state(self) -> str:
        return self.fields["state"]

    @property
    def priority(self) -> float:
        return float(self.fields["priority"])

    def number(self, name: str) -> int:
        return int(self.fields.get(name, "0"))

    def score(self) -> float:
        """The job's score in the set of its state."""
        if self.state == "delayed":
            return self.number("promote_at")
        if self.state == "active":
            return self.deadline if "ttl" in self.fields else -abs(self.priority)
        return self.priority


Event = tuple[int, str, tuple[Any, ...]]


class Model:
    """``said`` gathers the events; whoever compares takes them away."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.jobs: dict[int, Job] = {}
        self.last_id = 0
        self.types: set[str] = set()
        self.paused: set[str] = set()
        self.tokens: dict[str, int] = {}
        self.work_time = 0
        self.said: list[Event] = []

    # What is where

    def waiting(self, kind: str) -> list[Job]:
        """The waiting jobs of a type, in the order in which they are taken."""
        found = [job for job in self.jobs.values() if job.type == kind and job.state == "inactive"]
        return sorted(found, key=lambda job: (job.priority, job.zid))

    def overdue(self) -> list[Job]:
        found = [job for job in self.jobs.values() if job.state == "active" and 100_000 <= job.score() <= self.now]
        return sorted(found, key=lambda job: (job.deadline, job.zid))

    def say(self, job: Job, event: str, *args: Any) -> None:
        self.said.append((job.id, event, args))

    def _enter(self, job: Job, state: str) -> None:
        job.fields["state"] = state
        job.fields["updated_at"] = str(self.now)
        if state == "active" and "ttl" in job.fields:
            job.deadline = self.now + job.number("ttl")
        if state == "inactive":
            self.tokens[job.type] = self.tokens.get(job.type, 0) + 1
            self.say(job, "enqueue", job.type)

    @staticmethod
    def _revoke(job: Job) -> None:
        job.token, job.lease = None, None

    def _balance(self, kind: str) -> None:
        self.tokens[kind] = len(self.waiting(kind))

    # A producer

    def create(self, kind: str, data: str, priority: str, **options: str) -> Job:
        """``options`` are fields of the hash; ``delay`` is added to the time."""
        self.last_id += 1
        now = str(self.now)
        job = Job(self.last_id, {"type": kind, "data": data, "priority": priority, "created_at": now, "promote_at": now,
                                 **options})  # fmt: skip
        self.jobs[job.id] = job
        self.types.add(kind)
        if "delay" in options:
            job.fields["promote_at"] = str(self.now + int(options["delay"]))
        self._enter(job, "delayed" if "delay" in options else "inactive")
        return job

    def update(self, job: Job, changes: dict[str, str]) -> None:
        """An empty text takes a field away. A new delay counts from the creation, or from the last failure."""
        if changes.get("delay") and changes["delay"] != job.fields.get("delay"):
            since = job.number("failed_at") or job.number("created_at")
            job.fields["promote_at"] = str(since + int(changes["delay"]))
        for name, value in changes.items():
            if value:
                job.fields[name] = value
            else:
                job.fields.pop(name, None)
        self._enter(job, job.state)

    # A worker

    def reserve(self, kind: str, slots: list[int], nonce: str, worker: str) -> list[Job]:
        taken = [] if kind in self.paused else self.waiting(kind)[: len(slots)]
        for job, slot in zip(taken, slots, strict=False):
            self._enter(job, "active")
            job.fields |= {"started_at": str(self.now), "workerId": f"{worker}:{kind}:{slot}"}
            job.token, job.lease = f"{nonce}.{slot}@{self.now}", self.now + LEASE_MS
            job.node_runs = False
            self.say(job, "start", kind, None)
        self._balance(kind)
        return taken

    def holds(self, job_id: int, token: str) -> int:
        """1 if the token holds the job, 0 if its attempt has ended by itself, -1 no such job, -2 it lost the job."""
        job = self.jobs.get(job_id)
        if job is None:
            return -1
        if job.token != token:
            return -2
        if job.state != "active":
            return 0
        return 1 if self.ours(job) else -2

    def end(self, job_id: int, token: str) -> int:
        """The same for an attempt that ends; the lease of one that a Node worker has taken over is dropped."""
        code = self.holds(job_id, token)
        if code == -2 and self.jobs[job_id].token == token:
            self.jobs[job_id].lease = None
        return code

    @staticmethod
    def ours(job: Job) -> bool:
        """Whether a worker of ours runs an active job: it has a lease, and no Node worker has taken it meanwhile."""
        return job.lease is not None and not job.node_runs

    def may_write(self, job_id: int, token: str) -> int:
        """The same for progress and log lines, where an empty token stands for somebody who needs none."""
        if job_id not in self.jobs:
            return -1
        return 1 if token == "" or self.holds(job_id, token) == 1 else -2

    def _take_back(self, job: Job) -> None:
        """An attempt ends; if it is overdue, Node's watcher is told that it has been seen to."""
        job.lease = None
        if job in self.overdue():
            self.say(job, "ttl exceeded ack")

    def complete(self, job: Job, result: str, kept: bool) -> None:
        self._take_back(job)
        duration = max(0, self.now - job.number("started_at"))
        self.work_time += duration
        shown = RESULTS[result]
        if "removeOnComplete" in job.fields:
            del self.jobs[job.id]
            self.say(job, "complete", shown, None)
            self.say(job, "remove", job.type)
            return
        job.fields |= {"duration": str(duration), "progress": "100"}
        if kept:
            job.fields["result"] = result
        elif result != "null" or "result" in job.fields:
            job.fields["exact_result"] = f"{job.fields['started_at']}|{result}"
        self._count_attempt(job)
        self._clear(job)
        self._enter(job, "complete")
        self.say(job, "complete", shown, None)

    @staticmethod
    def _clear(job: Job) -> None:
        """It has ended by itself: it is no suspect any more."""
        if job.fields.pop("deaths", None):
            job.fields.pop("alone", None)

    def _count_attempt(self, job: Job) -> int:
        made = job.number("attempts")
        if made < job.number("max_attempts"):
            made += 1
            job.fields["attempts"] = str(made)
        return made

    def fail(self, job: Job, error: str, retry: str, delay: str, note: str = "", *, crashed: bool = False) -> None:
        self._take_back(job)
        if not crashed:
            self._clear(job)
        self._fail(job, error, retry, delay, note)

    def _fail(self, job: Job, error: str, retry: str, delay: str, note: str, *, acknowledged: bool = False) -> None:
        job.fields |= {"error": error, "failed_at": str(self.now)}
        job.log += [error, note] if note else [error]
        job.outcomes.append("failed")
        self.say(job, "error", error)
        if acknowledged:
            self.say(job, "ttl exceeded ack")
        made = self._count_attempt(job)
        if made >= job.number("max_attempts") or retry == "never":
            self._enter(job, "failed")
            self.say(job, "failed", error, None)
            return
        if retry == "now":
            self._enter(job, "inactive")
        else:
            if delay:
                job.fields |= {"delay": delay, "promote_at": str(self.now + int(delay))}
            self._enter(job, "delayed")
        self.say(job, "failed attempt", error, made)

    def release(self, job: Job, reason: str, delay: str) -> None:
        self._take_back(job)
        job.log.append(reason)
        if not delay:
            job.outcomes.append("released")
            self._enter(job, "inactive")
            return
        self._clear(job)
        job.outcomes.append("postponed")
        job.fields["promote_at"] = str(self.now + int(delay))
        self._enter(job, "delayed")
        self.say(job, "postpone", reason, self.now + int(delay))

    def progress(self, job: Job, percent: int, data: Any, text: str) -> None:
        job.fields |= {"progress": str(percent), "updated_at": str(self.now)}
        if data is not None:
            job.fields["progress_data"] = text
        if job.state == "active" and "ttl" in job.fields:
            job.deadline = self.now + job.number("ttl")
        self.say(job, "progress", percent, data)

    def add_log(self, job: Job, line: str) -> None:
        job.log.append(line)
        job.fields["updated_at"] = str(self.now)

    def isolate(self, job: Job, line: str, alone: bool) -> None:
        if alone:
            assert job.token is not None
            job.fields["alone"] = job.token
        if line and job.log[-1:] != [line]:
            job.log.append(line)
        if "ttl" in job.fields:
            job.deadline = self.now + job.number("ttl")

    def renew(self, held: list[tuple[int, str]]) -> list[int]:
        lost = []
        for job_id, token in held:
            if self.holds(job_id, token) == 1:
                self.jobs[job_id].lease = self.now + LEASE_MS
            else:
                lost.append(job_id)
        return lost

    # Upkeep

    def promote(self) -> int:
        due = [job for job in self.jobs.values() if job.state == "delayed" and job.score() <= self.now]
        for job in sorted(due, key=lambda job: (job.score(), job.zid)):
            self.say(job, "promotion")
            self._enter(job, "inactive")
        return len(due)

    def time_out(self, job: Job, retry: str, delay: str, note: str) -> bool:
        ours = self.ours(job)
        if not ours and job.deadline + NODE_GRACE_MS > self.now:
            return False
        if ours:
            self.say(job, "ttl exceeded")
        self._revoke(job)
        self._fail(job, "TTL exceeded", retry, delay, note, acknowledged=ours)
        return True

    def rescue(self, worker: str = "") -> list[int]:
        """Lapsed leases, or all of a worker known to be dead. A lease of what does not run here any more is dropped."""
        held = [job for job in self.jobs.values() if job.lease is not None]
        held.sort(key=lambda job: (job.lease, str(job.id)))
        rescued = []
        for job in held:
            assert job.lease is not None
            name = job.fields["workerId"]
            lapsed = job.lease <= self.now
            if (worker or lapsed) and job.state != "active":
                job.lease = None
            elif name.startswith(worker + ":") if worker else lapsed:
                if job.node_runs:
                    job.lease = None
                    continue
                rescued.append(job.id)
                self._rescue(job, name, "its process died" if worker else "its lease expired")
        return rescued

    def _rescue(self, job: Job, name: str, why: str) -> None:
        count = job.number("rescues") + 1
        job.fields["rescues"] = str(count)
        deaths = job.number("deaths") + 1
        job.fields["deaths"] = str(deaths)
        is_guilty = job.fields.pop("alone", None) == job.token
        self._revoke(job)
        job.log.append(f"Rescued from {name}: {why} (rescue {count})")
        self.say(job, "rescue", name, count)
        if not is_guilty:
            job.outcomes.append("rescued")
            if deaths == SUSPECT_FROM:
                job.log.append(
                    "Suspect: 2 worker processes died while they ran it among others; it runs alone next"
                )
            self._enter(job, "inactive")
            return
        names = [name, *[name for outcome in job.outcomes if outcome == "rescued"]]
        # The test's workers all bear one name, but for the type and the slot.
        error = f"Failed after {count - 1} rescues: {len(names)} workers"
        self._fail(job, error, "never", "", "")

    def balance(self) -> None:
        for kind in self.types:
            if len(self.waiting(kind)) > self.tokens.get(kind, 0):
                self._balance(kind)

    # An operator

    def move(self, job: Job, state: str) -> None:
        self._revoke(job)
        if job.number("promote_at") == HOLD_UNTIL_MS:
            job.fields["promote_at"] = str(self.now)
        self._enter(job, state)

    def cancel(self, job: Job) -> None:
        self._revoke(job)
        job.fields |= {"error": "Cancelled", "failed_at": str(self.now)}
        job.log.append("Cancelled")
        self._enter(job, "failed")
        self.say(job, "cancel")
        self.say(job, "error", "Cancelled")
        self.say(job, "failed", "Cancelled", None)

    def suspend(self, job: Job) -> None:
        if job.state == "delayed" and job.number("promote_at") == HOLD_UNTIL_MS:
            return
        self._revoke(job)
        job.log.append("Paused")
        job.fields["promote_at"] = str(HOLD_UNTIL_MS)
        self._enter(job, "delayed")
        self.say(job, "postpone", "Paused", HOLD_UNTIL_MS)

    def remove(self, job: Job) -> None:
        del self.jobs[job.id]
        self.say(job, "remove", job.type)

    # A Node worker, which knows no tokens of attempts and no leases

    def node_takes(self, kind: str, worker: str) -> Job | None:
        if not self.tokens.get(kind):
            return None
        self.tokens[kind] -= 1
        if not self.waiting(kind):
            return None
        job = self.waiting(kind)[0]
        job.fields |= {"started_at": str(self.now), "workerId": worker}
        job.node_runs = True
        self._enter(job, "active")
        return job

    def node_puts_back(self, job: Job) -> None:
        """Node's dashboard makes a running job wait: it takes no lease away."""
        self._enter(job, "inactive")

    def node_completes(self, job: Job) -> None:
        job.fields |= {"duration": "7", "progress": "100"}
        self._count_attempt(job)
        self._enter(job, "complete")
        self.work_time += 7


#: Results as JSON text, and as events show them.
RESULTS: dict[str, Any] = {"null": None, "0": 0, '{"ok":[true]}': {"ok": [True]}, '"á/b"': "á/b"}
