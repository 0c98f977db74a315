"""Unique jobs, schedules, limits and flows together, in plain Python: where each job is after each transition.

Written from the guides of docs/: each method is one transition. Times are epoch ms. What a job says, its scores and its
wake-up tokens are in model.py; here a job that waits is ``waiting``, whether it stands aside for a limit or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ENDED = ("complete", "failed")
#: Where a job may be. ``children``: it waits for them. ``suspended``: by an operator.
PLACES = ("waiting", "delayed", "children", "suspended", "active", *ENDED)
LEASE_MS = 10_000


@dataclass
class Claim:
    """What makes a job unique: ``until`` is end, start or success; it lasts to ``expires`` in any case."""

    entry: str
    until: str
    expires: int


@dataclass
class Job:
    id: int
    type: str
    key: str
    priority: int = 0
    attempts: int = 1
    delay: int = 0
    ttl: int = 0
    remove_on_complete: bool = False
    claim: Claim | None = None
    place: str = "waiting"
    made: int = 0
    due: int = 0
    token: str | None = None
    worker: str = ""
    lease: int = 0
    deadline: int = 0
    #: Whether it holds a slot of its key.
    has_slot: bool = False
    #: Whether it waited for its children when it was suspended.
    waits: bool = False
    #: Its children in their order, each pending, complete, failed or removed.
    children: dict[int, str] = field(default_factory=dict)
    policy: str = "fail"
    parents: list[int] = field(default_factory=list)
    failed_child: int | None = None

    @property
    def zid(self) -> str:
        return f"{len(str(self.id)):02d}|{self.id}"

    @property
    def pending(self) -> list[int]:
        return [child for child, how in self.children.items() if how == "pending"]

    @property
    def bad(self) -> list[int]:
        """Those that failed, and then those that were removed."""
        return [child for bad in ("failed", "removed") for child, how in self.children.items() if how == bad]


class Model:
    def __init__(self, now: int) -> None:
        self.now = now
        self.jobs: dict[int, Job] = {}
        self.last_id = 0
        self.paused: set[str] = set()
        #: By claim, the job that took it last; and until when claims last whose job was removed as it completed.
        self.claims: dict[str, int] = {}
        self.outliving: dict[str, int] = {}

    def of(self, kind: str, *places: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.type == kind and job.place in places]

    # Producers

    def create(self, job: Job) -> Job:
        self.last_id += 1
        assert job.id in (0, self.last_id), (job.id, self.last_id)
        job.id = self.last_id
        self.jobs[job.id] = job
        if job.delay:
            job.place, job.due = "delayed", self.now + job.delay
        return job

    def holder_of(self, entry: str) -> int | None:
        """The id of the job that has a claim; it may be removed."""
        job = self.jobs.get(self.claims.get(entry, 0))
        if job is None:
            return self.claims[entry] if self.outliving.get(entry, 0) > self.now else None
        claim = job.claim
        if claim is None or claim.entry != entry:
            return None
        covered = {"end": job.place not in ENDED, "start": job.place not in (*ENDED, "active"),
                   "success": job.place != "complete"}  # fmt: skip
        return job.id if claim.expires > self.now or covered[claim.until] else None

    def take_claim(self, job: Job) -> None:
        assert job.claim is not None
        self.claims[job.claim.entry] = job.id
        self.outliving.pop(job.claim.entry, None)

    def create_unique(self, job: Job, on_duplicate: str) -> int:
        """Create a job, or change the one that has its claim; return the id."""
        assert job.claim is not None
        known = self.holder_of(job.claim.entry)
        if known is None:
            self.take_claim(self.create(job))
            return job.id
        old = self.jobs.get(known)
        if old is None or on_duplicate in ("return", "reject") or old.place in (*ENDED, "active"):
            return known
        if on_duplicate == "replace":
            old.key, old.priority, old.attempts, old.ttl = job.key, job.priority, job.attempts, job.ttl
            old.remove_on_complete = job.remove_on_complete
        elif not job.delay:
            return known
        old.delay = job.delay
        if old.place in ("waiting", "delayed"):
            old.place, old.due = ("delayed", self.now + job.delay) if job.delay else ("waiting", 0)
        return known

    def create_flow(self, jobs: list[Job], edges: list[tuple[int, int]]) -> None:
        """``edges``: child and parent, as places in ``jobs``; a negative child is the id of a job that is there.

        A unique job without children is not created if another one has its claim: that one is waited for.
        """
        known = {at: self.holder_of(job.claim.entry) for at, job in enumerate(jobs) if job.claim}
        for at, job in enumerate(jobs):
            if known.get(at) is None:
                self.create(job)
                if any(parent == at for _, parent in edges):
                    job.place, job.due = "children", 0
                if job.claim:
                    self.take_claim(job)
        ids = {at: known.get(at) or job.id for at, job in enumerate(jobs)}
        pairs = dict.fromkeys((-child if child < 0 else ids[child], ids[parent]) for child, parent in edges)
        self.adopt([pair for pair in pairs if pair[0] in self.jobs])
        for parent in {jobs[parent].id for _, parent in edges}:
            if self.jobs[parent].place == "children" and not self.jobs[parent].children:
                self.review(self.jobs[parent])

    def adopt(self, edges: list[tuple[int, int]]) -> None:
        for child, parent in edges:
            self.jobs[parent].children[child] = "pending"
            self.jobs[child].parents.append(parent)
        for child in dict(edges):
            if child in self.jobs and self.jobs[child].place in ENDED:
                self.settle(self.jobs[child], self.jobs[child].place)

    # Flows

    def settle(self, child: Job, how: str) -> None:
        """A job has ended as complete, failed or removed: its parents count it, and theirs if they fail by that."""
        ended = [(child, how)]
        for child, how in ended:
            for parent in [self.jobs[each] for each in child.parents if each in self.jobs]:
                if parent.children.get(child.id) != "pending" or (how == "failed" and parent.policy == "wait"):
                    continue
                parent.children[child.id] = how
                if how == "complete" and parent.pending:
                    continue
                if parent.place == "children" and self.review(parent, child.id if how != "complete" else None):
                    ended.append((parent, "failed"))

    def review(self, parent: Job, by: int | None = None) -> bool:
        """Let a parent that waits go on if there is nothing left to wait for, or fail; return whether it failed."""
        if parent.policy == "fail" and parent.bad:
            parent.place, parent.failed_child = "failed", by or parent.bad[0]
            return True
        if not parent.pending:
            parent.place, parent.due = ("delayed", self.now + parent.delay) if parent.delay else ("waiting", 0)
        return False

    def unsettle(self, child: Job) -> None:
        """A failed job is to run again: its parents wait for it again."""
        for parent in [self.jobs[each] for each in child.parents if each in self.jobs]:
            waits = parent.place == "children" or (parent.place == "suspended" and parent.waits)
            failed_by_a_child = parent.place == "failed" and parent.failed_child is not None
            if parent.children.get(child.id) != "failed" or not (waits or failed_by_a_child):
                continue
            parent.children[child.id] = "pending"
            if failed_by_a_child and parent.failed_child == child.id:
                parent.place, parent.failed_child = "children", None
                self.unsettle(parent)

    # Workers

    def reserve(self, job: Job, token: str, worker: str, *, by_key: bool) -> None:
        job.place, job.token, job.worker, job.lease = "active", token, worker, self.now + LEASE_MS
        job.deadline = self.now + job.ttl if job.ttl else 0
        job.has_slot = by_key

    def holds(self, job_id: int, token: str) -> bool:
        job = self.jobs.get(job_id)
        return job is not None and job.place == "active" and job.token == token

    def _end(self, job: Job, place: str, due: int = 0) -> None:
        job.place, job.due, job.has_slot = place, due, False

    def complete(self, job: Job) -> None:
        job.made = min(job.made + 1, job.attempts)
        self._end(job, "complete")
        if job.remove_on_complete:
            del self.jobs[job.id]
            if job.claim and job.claim.expires > self.now:
                self.outliving[job.claim.entry] = job.claim.expires
        self.settle(job, "complete")

    def fail(self, job: Job, retry: str, delay: int = 0) -> None:
        job.made = min(job.made + 1, job.attempts)
        if job.made >= job.attempts or retry == "never":
            self._end(job, "failed")
            self.settle(job, "failed")
        elif retry == "now":
            self._end(job, "waiting")
        else:
            job.delay = delay
            self._end(job, "delayed", self.now + delay)

    def release(self, job: Job, delay: int = 0) -> None:
        self._end(job, "delayed" if delay else "waiting", self.now + delay if delay else 0)

    def wait_for_children(self, job: Job) -> None:
        self._end(job, "children")
        self._review_now(job)

    def _review_now(self, job: Job) -> None:
        """The same for a job whose delay was over before."""
        delay, job.delay = job.delay, 0
        if self.review(job):
            self.settle(job, "failed")
        job.delay = delay

    # Maintenance

    def promote(self) -> None:
        for job in self.jobs.values():
            if job.place == "delayed" and job.due <= self.now:
                self._end(job, "waiting")

    def rescue(self, worker: str = "") -> list[int]:
        found = [job for job in self.jobs.values() if job.place == "active"]
        dead = [job for job in found if (job.worker == worker if worker else job.lease <= self.now)]
        for job in dead:
            self._end(job, "waiting")
        return [job.id for job in dead]

    # Operators

    def cancel(self, job: Job) -> None:
        if job.place not in ENDED:
            self._end(job, "failed")
            self.settle(job, "failed")

    def remove(self, job: Job) -> None:
        del self.jobs[job.id]
        self.settle(job, "removed")

    def below(self, root: Job) -> list[Job]:
        """What a job waits for, and so on, without what a job outside waits for too."""
        found = [root]
        for job in found:
            for child in [self.jobs[each] for each in job.children if each in self.jobs]:
                outside = [each for each in child.parents if each in self.jobs and self.jobs[each] not in found]
                if child not in found and not outside:
                    found.append(child)
        return found[1:]

    def suspend(self, job: Job) -> None:
        if job.place != "suspended":
            job.waits = job.place == "children"
            self._end(job, "suspended")

    def promote_by_hand(self, job: Job) -> None:
        """Let a delayed job go on: one that was suspended waits for its children again, if it did."""
        if job.place == "suspended" and (job.waits or job.pending):
            self._end(job, "children")
            if job.waits:
                self._review_now(job)
            return
        self._end(job, "waiting")

    def retry(self, job: Job) -> None:
        self._end(job, "waiting")
        job.failed_child = None
        self.unsettle(job)
