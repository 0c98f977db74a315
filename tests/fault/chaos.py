"""The chaos run: workers killed and frozen, connections cut, the server killed; then nothing lost, stuck or done twice.

    python -m tests.fault.chaos --seed 7 --seconds 60 --jobs 5000 [--keep DIR] [--node]

The same seed gives the same faults, though not the same run. Ends with status 1 and a line for each thing found wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

import kue
from tests.fault.chaos_worker import TYPES
from tests.fault.proxy import Proxy
from tests.fault.server import FaultyServer
from tests.interop.consistency import inconsistencies
from tests.support import ROOT, wait_until

#: The first four modes of the worker processes, whether each connects through the proxy.
WORKERS = (("green", True), ("plain", True), ("green", False), ("plain", False))
SLOTS = 8
LEASE_MS = 2000
#: Seconds between two faults of a kind: from, to.
KILL_S, FREEZE_S, CUT_S, RESTART_S = (0.2, 2.0), (2.0, 6.0), (0.5, 2.0), (5.0, 12.0)
#: Seconds that a frozen worker stays frozen beyond its lease, and that the server stays away.
OVERSLEEP_S, AWAY_S = (0.3, 1.5), (0.0, 1.0)
#: Seconds for all jobs to end once the faults are over, and for a worker to stop in order.
SETTLE_S, STOP_S = 60.0, 20.0
#: An outcome may take so long to be acknowledged, when nothing is away, s.
ACKNOWLEDGE_S = 0.5
#: Keys that any run leaves.
CLEAN_KEYS = {"q:ids", "q:jobs", "q:jobs:complete", "q:job:types", "q:stats:work-time"} | {
    f"q:jobs:{name}:complete" for name in TYPES
}
NODE_PLAN_MARK = "node"


@dataclass
class Execution:
    """One run of a handler, as its process noted it."""

    pid: int
    begin: float
    end: float | None = None


@dataclass
class Report:
    """What a run did and found."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([", ".join(f"{count} {what}" for what, count in self.counts.items()), *self.wrong])


class Worker:
    """One worker process, whichever process that is at the moment."""

    def __init__(self, url: str, mode: str, directory: Path, name: str) -> None:
        self._command = [sys.executable, "-m", "tests.fault.chaos_worker", url, str(directory / "executions")]
        self._command += [str(LEASE_MS), str(SLOTS), mode]
        self.log = directory / f"{name}.log"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(self._command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)

    def replace(self) -> int:
        """Kill it as a crash does and start another; return the dead one's pid."""
        dead = self.process
        dead.kill()
        dead.wait(10)
        self.process = self._start()
        return dead.pid

    def stop(self) -> int:
        """End it in order; return its status, 0 if it did so."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(10)


class Chaos:
    """One run in a directory of its own."""

    def __init__(self, directory: Path, *, seed: int, seconds: float, jobs: int, node: bool = False) -> None:
        self._directory, self._seconds, self._jobs, self._with_node = directory, seconds, jobs, node
        self._chance = random.Random(seed)
        self._data_chance = random.Random(seed + 1)
        self._server = FaultyServer(directory)
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        #: (pid, from, to) of each killed and each frozen process; (from, to) of each time without a server.
        self._cut_off: list[tuple[int, float, float]] = []
        self._away: list[tuple[float, float]] = []
        self._planned: dict[int, int] = {}
        self._completions: Counter[str] = Counter()
        self.report = Report()

    def run(self) -> Report:
        with self._server, Proxy(self._server.port) as proxy:
            tap = threading.Thread(target=self._listen, daemon=True)
            tap.start()
            for at, (mode, proxied) in enumerate(WORKERS):
                url = proxy.url if proxied else self._server.url
                self._workers.append(Worker(url, mode, self._directory, f"worker{at}"))
            try:
                self._go(proxy)
            finally:
                self._ended.set()
                for worker in self._workers:
                    if status := worker.stop():
                        self.report.wrong.append(f"process {worker.process.pid} ended with {status}: {worker.log.name}")
            tap.join(10)
            with self._server.client() as client:
                self._check(client)
        return self.report

    def _go(self, proxy: Proxy) -> None:
        began = time.monotonic()
        producer = threading.Thread(target=self._produce, args=(proxy.url,), daemon=True)
        producer.start()
        faults = [
            threading.Thread(target=self._repeat, args=(fault, every, self._chance.random()), daemon=True)
            for fault, every in ((self._kill, KILL_S), (self._freeze, FREEZE_S), (lambda c: self._cut(c, proxy), CUT_S))
        ]
        for thread in faults:
            thread.start()
        restart_at = time.monotonic() + self._chance.uniform(*RESTART_S)
        while time.monotonic() < began + self._seconds:  # here, since the server ends with the thread that starts it
            time.sleep(0.05)
            if time.monotonic() >= restart_at:
                self._restart()
                restart_at = time.monotonic() + self._chance.uniform(*RESTART_S)
        self._ended.set()
        for thread in faults:
            thread.join(20)
        producer.join(self._seconds + SETTLE_S)
        with self._server.client() as client:
            try:
                wait_until(lambda: self._all_over(client), SETTLE_S, 0.2)
            except AssertionError:
                self.report.wrong.append(f"after {SETTLE_S:g} s not all jobs had ended: {_counts(client)}")

    def _all_over(self, client: redis.Redis) -> bool:
        counts = _counts(client)
        return counts["complete"] + counts["failed"] == client.zcard("q:jobs") >= self._jobs

    # What the run does

    def _produce(self, url: str) -> None:
        """Create the jobs over two thirds of the time, one by one and many at once, again when Redis was away."""
        queue, chance = kue.create_queue(url), self._data_chance
        mark = 0
        pause = self._seconds * 0.66 / self._jobs
        while mark < self._jobs:
            count = min(self._jobs - mark, chance.choice((1, 1, 1, 5, 50)))
            made = [self._job(queue, mark + n) for n in range(count)]
            mark += count
            while True:
                try:
                    if count == 1:
                        made[0].save()
                    else:
                        queue.create_many(made)
                    break
                except kue.QueueUnavailable:
                    self.report.counts["saves refused"] += 1
            time.sleep(pause * count)
        queue.close()

    def _job(self, queue: kue.Queue, mark: int) -> kue.Job:
        chance = self._data_chance
        fail = chance.choice((0, 0, 0, 0, 0, 0, 1, 2))
        self._planned[mark] = 1 + fail
        data = {"mark": mark, "ms": chance.choice((0, 5, 20, 50, 200)), "fail": fail, "steps": chance.random() < 0.5}
        job = queue.create(chance.choice(TYPES), data, priority=chance.choice(("low", "normal", "high")))
        if fail:
            job.attempts(fail + 1)
            if chance.random() < 0.5:
                job.backoff({"type": "fixed", "delay": 100})
        if chance.random() < 0.1:
            job.delay(chance.randrange(1, 1000))
        return job

    def _repeat(self, fault: Any, every: tuple[float, float], seed: float) -> None:
        chance = random.Random(seed)
        while not self._ended.wait(chance.uniform(*every)):
            fault(chance)

    def _kill(self, chance: random.Random) -> None:
        with self._lock:
            pid = chance.choice(self._workers).replace()
            now = time.time()
            self._cut_off.append((pid, now, now))
        self.report.counts["kills"] += 1

    def _freeze(self, chance: random.Random) -> None:
        with self._lock:
            process = chance.choice(self._workers).process
            process.send_signal(19)
            began = time.time()
        time.sleep(LEASE_MS / 1000 + chance.uniform(*OVERSLEEP_S))
        process.send_signal(18)  # if it was killed meanwhile, nothing happens
        self._cut_off.append((process.pid, began, time.time()))
        self.report.counts["freezes"] += 1

    def _cut(self, chance: random.Random, proxy: Proxy) -> None:
        if chance.random() < 0.3:
            self.report.counts["connections cut"] += proxy.cut()
            return
        try:
            with self._server.client(socket_timeout=2) as client:
                clients = client.client_list()
                for each in chance.sample(clients, min(len(clients), chance.randrange(1, 8))):
                    client.client_kill_filter(_id=each["id"], skipme=True)
                    self.report.counts["connections cut"] += 1
        except (redis.RedisError, OSError):
            pass  # the server is away just now

    def _restart(self) -> None:
        began = time.time()
        self._server.kill()
        time.sleep(self._chance.uniform(*AWAY_S))
        self._server.start()
        self._away.append((began, time.time()))
        self.report.counts["server restarts"] += 1

    def _listen(self) -> None:
        """Count the completions that are told; a lost connection may lose some, but none is told twice."""
        while not self._ended.is_set():
            try:
                with self._server.client() as client, client.pubsub(ignore_subscribe_messages=True) as told:
                    told.subscribe("q:events")
                    while not self._ended.is_set():
                        message = told.get_message(timeout=0.2)
                        event = json.loads(message["data"]) if message else {"event": ""}
                        if event["event"] == "complete":
                            self._completions[str(event["id"])] += 1
            except (redis.RedisError, OSError):
                time.sleep(0.05)

    # What must be true afterwards

    def _check(self, client: redis.Redis) -> None:
        wrong, counts = self.report.wrong, self.report.counts
        wrong += inconsistencies(client)
        jobs = {key.removeprefix("q:job:"): client.hgetall(key) for key in client.scan_iter("q:job:*", 1000)
                if key.count(":") == 2 and key != "q:job:types"}  # fmt: skip
        by_mark: dict[int, list[str]] = defaultdict(list)
        for job_id, job in jobs.items():
            by_mark[json.loads(job["data"])["mark"]].append(job_id)
        executions = self._executions()
        extra = 0
        for mark, planned in self._planned.items():
            ids = by_mark[mark]
            if len(ids) != 1:
                wrong.append(f"the job with mark {mark} was created {len(ids)} times: {ids}")
                continue
            job, ran = jobs[ids[0]], executions[mark]
            what = f"job {ids[0]} (mark {mark})"
            if job["state"] != "complete":
                wrong.append(f"{what} is {job['state']}: {job.get('error', '')[:300]}")
            elif int(job["attempts"]) != planned:
                wrong.append(f"{what} counts {job['attempts']} attempts, planned were {planned}")
            if self._completions[ids[0]] > 1:
                wrong.append(f"{what} was said complete {self._completions[ids[0]]} times")
            extra += len(ran) - planned
            if len(ran) < planned:
                wrong.append(f"{what} ran {len(ran)} times, planned were {planned}")
            excused = sum(map(self._was_cut_off, ran))
            if len(ran) - planned > excused:
                wrong.append(f"{what} ran {len(ran)} times, planned {planned}, cut off by faults {excused}: {ran}")
        worked = sum(int(job.get("duration", 0)) for job in jobs.values())
        if int(client.get("q:stats:work-time") or 0) != worked:
            wrong.append(f"the work time is {client.get('q:stats:work-time')} ms, the jobs' {worked} ms")
        wrong += [f"left behind: {key}" for key in self._leavings(client)]
        wrong += [f"{worker.log.name}: {line}" for worker in self._workers for line in _tracebacks(worker.log)]
        counts.update({"jobs": len(jobs), "executions": sum(map(len, executions.values())),
                       "executions too many": extra,
                       "attempts cut off": sum(self._was_cut_off(each) for ran in executions.values() for each in ran),
                       "rescues": sum(int(job.get("rescues", 0)) for job in jobs.values()),
                       "completions heard": sum(self._completions.values())})  # fmt: skip

    def _executions(self) -> dict[int, list[Execution]]:
        found: dict[int, list[Execution]] = defaultdict(list)
        under_way: dict[tuple[str, str], Execution] = {}
        for line in (self._directory / "executions").read_text().splitlines():
            word, mark, pid, number, at = line.split()
            if word == "begin":
                under_way[pid, number] = Execution(int(pid), float(at))
                found[int(mark)].append(under_way[pid, number])
            else:
                under_way[pid, number].end = float(at)
        return found

    def _was_cut_off(self, execution: Execution) -> bool:
        """Tell whether its process was killed or frozen while it ran, or before its outcome could be acknowledged."""
        end = execution.end or float("inf")
        for pid, began, ended in self._cut_off:
            if pid != execution.pid:
                continue
            away = sum(back - gone + ACKNOWLEDGE_S for gone, back in self._away if gone - ACKNOWLEDGE_S < began)
            if execution.begin <= ended and began <= end + ACKNOWLEDGE_S + (away if self._was_away(end, began) else 0):
                return True
        return False

    def _was_away(self, after: float, before: float) -> bool:
        return any(gone < before and back > after - ACKNOWLEDGE_S for gone, back in self._away)

    def _leavings(self, client: redis.Redis) -> Iterator[str]:
        for key in client.scan_iter("*", 1000):
            is_job = key.startswith("q:job:") and key != "q:job:types"
            if not (is_job or key in CLEAN_KEYS or key.startswith("q:lane:")):
                yield f"{key} {client.hgetall(key) if client.type(key) == 'hash' else client.type(key)}"


def _counts(client: redis.Redis) -> dict[str, int]:
    return {state: client.zcard(f"q:jobs:{state}") for state in ("inactive", "active", "complete", "failed", "delayed")}


def _tracebacks(log: Path) -> Iterator[str]:
    lines = log.read_text(errors="replace").splitlines()
    for at, line in enumerate(lines):
        if line.startswith("Traceback"):
            yield " / ".join(lines[max(0, at - 1) : at + 40])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--node", action="store_true", help="with a Node Kue producer and worker in the mix")
    parser.add_argument("--keep", type=Path, help="directory for the files of the run; else they are thrown away")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as thrown_away:
        directory = given.keep or Path(thrown_away)
        directory.mkdir(parents=True, exist_ok=True)
        chaos = Chaos(directory, seed=given.seed, seconds=given.seconds, jobs=given.jobs, node=given.node)
        report = chaos.run()
    print(f"seed {given.seed}: {report}")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
