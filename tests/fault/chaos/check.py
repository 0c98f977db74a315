"""What must be true of a queue after a chaos run: each job done once, nothing left behind, every repetition excused."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis

import kue
from kue import doctor
from tests.fault.chaos.worker import LIMITED_TYPE, PARENT_TYPE, SCHEDULED_TYPE, TYPES
from tests.support.consistency import inconsistencies

#: An outcome may take so long to be acknowledged on a busy machine, when nothing is away, s.
ACKNOWLEDGE_S = 3.0
#: Keys that any run leaves.
CLEAN_KEYS = {"q:clock", "q:ids", "q:jobs", "q:jobs:complete", "q:job:types", "q:stats:work-time"} | {
    f"q:jobs:{name}:complete" for name in (*TYPES, SCHEDULED_TYPE, LIMITED_TYPE, PARENT_TYPE)
}
#: And those of limits, with what each has used up.
CLEAN_LIMIT_KEYS = ("q:limits", "q:limit:state:", "q:limit:buckets:")


@dataclass
class Execution:
    """One run of a handler, as its process noted it."""

    pid: int
    begin: float
    end: float | None = None


@dataclass
class Faults:
    """What was done to the processes: (pid, from, to) of each killed or frozen one, (from, to) of each time without a
    server."""

    cut_off: list[tuple[int, float, float]] = field(default_factory=list)
    away: list[tuple[float, float]] = field(default_factory=list)

    def excuse(self, execution: Execution) -> bool:
        """Tell whether its process was killed or frozen while it ran, or before its outcome could be acknowledged."""
        for pid, began, ended in self.cut_off:
            if pid == execution.pid and execution.begin <= ended:
                if began <= self._acknowledged(execution.end or float("inf")):
                    return True
        return False

    def _acknowledged(self, end: float) -> float:
        """Return when an outcome of that time was acknowledged at the latest: an outage puts it off."""
        latest = end + ACKNOWLEDGE_S
        for gone, back in self.away:
            if gone < latest and back > end:
                latest = back + ACKNOWLEDGE_S + 1.0  # pauses between tries are up to a second
        return latest


@dataclass
class Report:
    """What a run did and found."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([", ".join(f"{count} {what}" for what, count in self.counts.items()), *self.wrong])


def read_executions(path: Path) -> dict[int, list[Execution]]:
    """Return the executions of each job, by mark, from the file of chaos_worker.py."""
    found: dict[int, list[Execution]] = defaultdict(list)
    under_way: dict[tuple[str, str], Execution] = {}
    for line in path.read_text().splitlines():
        word, mark, pid, number, at = line.split()
        if word == "begin":
            under_way[pid, number] = Execution(int(pid), float(at))
            found[int(mark)].append(under_way[pid, number])
        else:
            under_way[pid, number].end = float(at)
    return found


def read_jobs(client: redis.Redis) -> dict[str, dict[str, str]]:
    """Return the hash of every job, by id."""
    keys = [key for key in client.scan_iter("q:job:*", 1000) if key.count(":") == 2 and key != "q:job:types"]
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hgetall(key)
        return dict(zip([key.removeprefix("q:job:") for key in keys], pipe.execute(), strict=True))


def check(
    client: redis.Redis,
    url: str,
    report: Report,
    *,
    planned: Mapping[int, int],
    executions: Mapping[int, list[Execution]],
    faults: Faults,
    completions: Mapping[str, int],
    exempt: Collection[int],
    with_node: bool,
    scheduled: Mapping[str, Collection[int]] | None = None,
) -> None:
    """Add to the report what is wrong.

    ``planned``: attempts of each mark. ``exempt``: marks that may be anything. ``scheduled``: the times that each
    schedule must have created a job for; it may have created some for later ones.
    """
    wrong, jobs = report.wrong, read_jobs(client)
    # A Node worker counts its time in a step of its own, and may be killed before.
    wrong += [each for each in inconsistencies(client) if not (with_node and each.startswith("the work time"))]
    queue = kue.create_queue(url)
    wrong += [f"the doctor finds: {finding}" for finding in doctor.examine(queue, settle_s=0.1)]
    queue.close()
    wrong += check_schedules(jobs, scheduled or {}, report)
    by_mark: dict[int, list[str]] = defaultdict(list)
    for job_id, job in jobs.items():
        by_mark[json.loads(job["data"])["mark"]].append(job_id)
    for mark, attempts in planned.items():
        if mark in exempt:
            continue
        ids = by_mark[mark]
        if len(ids) != 1:
            wrong.append(f"the job with mark {mark} was created {len(ids)} times: {ids}")
            continue
        job, ran, what = jobs[ids[0]], executions.get(mark, []), f"job {ids[0]} (mark {mark})"
        if job["state"] != "complete":
            wrong.append(f"{what} is {job['state']}: {job.get('error', '')[:300]}")
        elif int(job["attempts"]) != attempts:
            wrong.append(f"{what} counts {job['attempts']} attempts, planned were {attempts}")
        if completions.get(ids[0], 0) > 1:
            wrong.append(f"{what} was said complete {completions[ids[0]]} times")
        excused = sum(map(faults.excuse, ran))
        if not attempts <= len(ran) <= attempts + excused:
            wrong.append(f"{what} ran {len(ran)} times, planned {attempts}, cut off {excused}: {ran} {job}")
        report.counts["executions"] += len(ran)
        report.counts["executions too many"] += len(ran) - attempts
        report.counts["attempts cut off"] += excused
        report.counts["rescues"] += int(job.get("rescues", 0))
    if not with_node:
        worked = sum(int(job.get("duration", 0)) for job in jobs.values())
        if int(client.get("q:stats:work-time") or 0) != worked:
            wrong.append(f"the work time is {client.get('q:stats:work-time')} ms, the jobs' {worked} ms")
    wrong += [f"left behind: {key}" for key in _leavings(client)]
    report.counts.update({"jobs": len(jobs), "completions heard": sum(completions.values())})


def check_schedules(
    jobs: Mapping[str, Mapping[str, str]], scheduled: Mapping[str, Collection[int]], report: Report
) -> Iterator[str]:
    """Yield which times of schedules have no job or several, and which of their jobs were not done."""
    found: dict[str, Counter[int]] = {name: Counter() for name in scheduled}
    for job_id, job in jobs.items():
        if "schedule" in job:
            found[job["schedule"]][int(job["occurrence"])] += 1
            if job["state"] != "complete":
                yield f"job {job_id} of schedule {job['schedule']} is {job['state']}: {job.get('error', '')[:300]}"
    for name, times in scheduled.items():
        if missing := set(times) - set(found[name]):
            yield f"schedule {name} has no job for {sorted(missing)}"
        if twice := {at: count for at, count in found[name].items() if count > 1}:
            yield f"schedule {name} has several jobs for {twice}"
        report.counts["scheduled jobs"] += sum(found[name].values())


def _leavings(client: redis.Redis) -> Iterator[str]:
    for key in client.scan_iter("*", 1000):
        if key.startswith(("q:wake:", "q:alerts:turn:")) and client.ttl(key) > 0:  # of a process: it goes by itself
            continue
        is_job = key.startswith("q:job:") and key != "q:job:types"
        if not (is_job or key in CLEAN_KEYS or key.startswith(("q:lane:", *CLEAN_LIMIT_KEYS))):
            yield f"{key} {client.hgetall(key) if client.type(key) == 'hash' else client.type(key)}"


def tracebacks(log: Path) -> Iterator[str]:
    """Yield what of a process's log begins with a traceback, unless it is of a failure that was planned."""
    lines = log.read_text(errors="replace").splitlines()
    for at, line in enumerate(lines):
        if line.startswith("Traceback"):
            error = next((each for each in lines[at + 1 :] if not each.startswith(" ")), "")
            if not error.startswith("PlannedFailure:"):
                yield " / ".join(lines[max(0, at - 1) : at + 40])
