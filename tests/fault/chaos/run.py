"""The chaos run: workers killed and frozen, connections cut, the server killed; then nothing lost, stuck or done twice.

    python -m tests.fault.chaos.run --seed 7 --seconds 60 --jobs 5000 [--schedules 200] [--limits 50] [--flows 30]
        [--keep DIR] [--node] [--fsync everysec]

The same seed gives the same faults, though not the same run. Ends with status 1 and a line for each thing found wrong.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import redis

import kue
from tests.fault.chaos.check import Faults, Report, check, read_executions, read_jobs, tracebacks
from tests.fault.chaos.flows import Flow, check_flows
from tests.fault.chaos.limits import check_limits, set_limits
from tests.fault.chaos.node_side import NodeSide, with_plan
from tests.fault.chaos.worker import LIMITED_TYPE, PARENT_TYPE, SCHEDULED_TYPE, TYPES
from tests.fault.chaos.worker_process import LEASE_MS, Worker
from tests.support import wait_until
from tests.support.servers.faulty_server import FaultyServer
from tests.support.servers.proxy import Proxy

#: The mode of each worker process, and whether it connects through the proxy.
WORKERS = (("green", True), ("plain", True), ("green", False), ("plain", False))
#: Seconds between two faults of a kind: from, to.
KILL_S, FREEZE_S, CUT_S, RESTART_S = (0.2, 2.0), (2.0, 6.0), (0.5, 2.0), (3.0, 8.0)
#: Seconds that a frozen worker stays frozen beyond its lease, and that the server stays away.
OVERSLEEP_S, AWAY_S = (0.3, 1.5), (0.0, 1.0)
#: Seconds for all jobs to end once the faults are over, at most.
SETTLE_S = 60.0
#: The mark of all jobs that schedules create.
SCHEDULED_MARK = -1
#: The longest that a job is active at a living worker, s.
ACTIVE_S = 1.0


class Chaos:
    """One run in a directory of its own.

    With ``node`` a Node producer and a Node worker take part, whose worker is killed once; what that one had in hand is
    excepted. Since Node Kue does not survive it, the server is not restarted then, and only our connections are cut.
    """

    def __init__(
        self,
        directory: Path,
        *,
        seed: int,
        seconds: float,
        jobs: int,
        schedules: int = 0,
        limits: int = 0,
        flows: int = 0,
        node: bool = False,
        fsync: str = "always",
    ) -> None:
        self._directory, self._seconds, self._jobs, self._with_node = directory, seconds, jobs, node
        self._schedules, self._limits, self._flows_wanted = schedules, limits, flows
        self._flows: list[Flow] = []
        self._scheduled: dict[str, range] = {}
        self._chance = random.Random(seed)
        self._data_chance = random.Random(seed + 1)
        self._server = FaultyServer(directory, fsync=fsync)
        self._workers: list[Worker] = []
        self._lock = threading.Lock()
        self._ended, self._stopped = threading.Event(), threading.Event()
        self._faults = Faults()
        self._node: NodeSide | None = None
        self._exempt: set[int] = set()
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
            self._stopped.set()
            tap.join(10)
            with self._server.client() as client:
                self._check(client)
        return self.report

    def _check(self, client: redis.Redis) -> None:
        executions = read_executions(self._directory / "executions")
        if self._node is not None:
            for mark, ran in self._node.executions(read_jobs(client)).items():
                executions[mark] += ran
        check(client, self._server.url, self.report, planned=self._planned, executions=executions, faults=self._faults,
              completions=self._completions, exempt=self._exempt, with_node=self._with_node,
              scheduled=self._scheduled)  # fmt: skip
        jobs = read_jobs(client)
        self.report.wrong += check_flows(self._flows, jobs, executions, self.report.counts)
        if self._limits:
            self.report.wrong += check_limits(jobs, executions, self._faults, self.report.counts)
        (self._directory / "faults.json").write_text(json.dumps(asdict(self._faults)))
        for worker in self._workers:
            self.report.wrong += [f"{worker.log.name}: {text}" for text in tracebacks(worker.log)]

    def _go(self, proxy: Proxy) -> None:
        if self._with_node:
            self._node = NodeSide(self._server.url)
        self._begin_schedules()
        if self._limits:
            set_limits(self._server.url)
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
        node_dies_at = began + self._seconds / 2
        while time.monotonic() < began + self._seconds:  # here, since the server ends with the thread that starts it
            time.sleep(0.05)
            if self._node is None and time.monotonic() >= restart_at:
                self._restart()
                restart_at = time.monotonic() + self._chance.uniform(*RESTART_S)
            if self._node is not None and time.monotonic() >= node_dies_at:
                self._node.kill_worker()
                node_dies_at = float("inf")
        self._ended.set()
        for thread in faults:
            thread.join(20)
        producer.join(self._seconds + SETTLE_S)
        self._end_schedules()
        with self._server.client() as client:
            if self._node is not None:
                time.sleep(ACTIVE_S)  # what still runs at living workers ends
                self._exempt = self._node.clear_away(client)
            try:
                wait_until(lambda: self._all_over(client), SETTLE_S, 0.2)
            except AssertionError:
                self.report.wrong.append(f"after {SETTLE_S:g} s not all jobs had ended: {_counts(client)}")
            alive = {str(worker.process.pid) for worker in self._workers}
            try:  # the entries of killed workers go within some seconds, while somebody works
                wait_until(lambda: {name.rpartition(":")[2] for name in client.hkeys("q:workers")} <= alive, SETTLE_S)
            except AssertionError:
                self.report.wrong.append(f"after {SETTLE_S:g} s killed workers are listed: {client.hkeys('q:workers')}")
            if self._node is not None:
                self._node.stop()

    def _all_over(self, client: redis.Redis) -> bool:
        counts = _counts(client)
        return counts["complete"] + counts["failed"] == client.zcard("q:jobs") >= self._jobs - len(self._exempt)

    # What the run does

    def _begin_schedules(self) -> None:
        """Let schedules fire each second: each of its times is to have one job, whatever is done to whom."""
        with kue.create_queue(self._server.url) as queue:
            data = {"mark": SCHEDULED_MARK, "ms": 0, "fail": 0, "steps": False}
            every = {"every": 1000, "overlap": "allow", "missed": "all"}
            queue.declare_schedules(
                [kue.Schedule(f"s{at}", SCHEDULED_TYPE, data, **every) for at in range(self._schedules)]
            )

    def _end_schedules(self) -> None:
        with kue.create_queue(self._server.url) as queue:
            until = queue.server_ms()
            try:
                wait_until(lambda: all((each.next_at or 0) > until for each in queue.schedules()), SETTLE_S)
            except AssertionError:
                self.report.wrong.append(f"after {SETTLE_S:g} s not all schedules had fired")
            for each in queue.schedules():
                self._scheduled[each.name] = range(each.anchor + 1000, until + 1, 1000)
            queue.declare_schedules([])

    def _produce(self, url: str) -> None:
        """Create the jobs over two thirds of the time, one by one and many at once, again when Redis was away."""
        queue, chance = kue.create_queue(url), self._data_chance
        marks = itertools.count()
        pause = self._seconds * 0.66 / self._jobs
        every = self._jobs // self._flows_wanted if self._flows_wanted else self._jobs + 1
        while (mark := len(self._planned)) < self._jobs:
            if mark // every >= len(self._flows) + 1 and len(self._flows) < self._flows_wanted:
                flow = Flow(queue, lambda kind="": self._job(queue, next(marks), kind), chance)
                self._flows.append(flow)
                count, save = flow.count, flow.save
            else:
                count = min(self._jobs - mark, chance.choice((1, 1, 1, 5, 50)))
                made = [self._job(queue, next(marks)) for n in range(count)]
                save = made[0].save if count == 1 else lambda made=made: queue.create_many(made)  # type: ignore[misc]
                if self._node is not None and mark % 3 == 0:
                    save = lambda made=made: self._node.create(made)  # type: ignore[misc,union-attr]  # noqa: E731
            while True:
                try:
                    save()
                    break
                except kue.QueueUnavailable:
                    self.report.counts["saves refused"] += 1
            time.sleep(pause * count)
        queue.close()

    def _job(self, queue: kue.Queue, mark: int, kind: str = "") -> kue.Job:
        chance = self._data_chance
        fail = chance.choice((0, 0, 0, 0, 0, 0, 1, 2))
        self._planned[mark] = 1 + fail
        data = {"mark": mark, "ms": chance.choice((0, 5, 20, 50, 200)), "fail": fail, "steps": chance.random() < 0.5}
        if self._with_node:
            data = with_plan(data)
        if self._limits:
            data["k"] = f"key {chance.randrange(self._limits)}"
        kind = kind or chance.choice((*TYPES, LIMITED_TYPE) if self._limits else TYPES)
        job = queue.create(kind, data, priority=chance.choice(("low", "normal", "high")))
        if fail:
            job.attempts(fail + 1)
            if chance.random() < 0.5:
                job.backoff({"type": "fixed", "delay": 100})
        if kind != PARENT_TYPE and chance.random() < 0.1:
            job.delay(chance.randrange(1, 1000))
        return job

    def _repeat(self, fault: Any, every: tuple[float, float], seed: float) -> None:
        chance = random.Random(seed)
        while not self._ended.wait(chance.uniform(*every)):
            fault(chance)

    def _kill(self, chance: random.Random) -> None:
        with self._lock:
            began = time.time()
            pid = chance.choice(self._workers).replace()
            self._faults.cut_off.append((pid, began, time.time()))
        self.report.counts["kills"] += 1

    def _freeze(self, chance: random.Random) -> None:
        with self._lock:
            process = chance.choice(self._workers).process
            began = time.time()
            process.send_signal(signal.SIGSTOP)
        time.sleep(LEASE_MS / 1000 + chance.uniform(*OVERSLEEP_S))
        process.send_signal(signal.SIGCONT)  # if it was killed meanwhile, nothing happens
        self._faults.cut_off.append((process.pid, began, time.time()))
        self.report.counts["freezes"] += 1

    def _cut(self, chance: random.Random, proxy: Proxy) -> None:
        if self._with_node or chance.random() < 0.3:
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
        self._faults.away.append((began, time.time()))
        self.report.counts["server restarts"] += 1

    def _listen(self) -> None:
        """Count the completions that are told; a lost connection may lose some, but none is told twice."""
        while not self._stopped.is_set():
            try:
                with self._server.client() as client, client.pubsub(ignore_subscribe_messages=True) as told:
                    told.subscribe("q:events")
                    while not self._stopped.is_set():
                        message = told.get_message(timeout=0.2)
                        event = json.loads(message["data"]) if message else {"event": ""}
                        if event["event"] == "complete":
                            self._completions[str(event["id"])] += 1
            except (redis.RedisError, OSError):
                time.sleep(0.05)


def _counts(client: redis.Redis) -> dict[str, int]:
    return {state: client.zcard(f"q:jobs:{state}") for state in ("inactive", "active", "complete", "failed", "delayed")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--schedules", type=int, default=0, help="schedules that fire each second")
    parser.add_argument("--limits", type=int, default=0, metavar="KEYS", help="keys of which one job may run at once")
    parser.add_argument("--flows", type=int, default=0, help="flows of three levels among the jobs")
    parser.add_argument("--node", action="store_true", help="with a Node Kue producer and worker in the mix")
    parser.add_argument("--fsync", choices=("always", "everysec"), default="always", help="of the server's file")
    parser.add_argument("--keep", type=Path, help="directory for the files of the run; else they are thrown away")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as thrown_away:
        directory = given.keep or Path(thrown_away)
        directory.mkdir(parents=True, exist_ok=True)
        chaos = Chaos(
            directory,
            seed=given.seed,
            seconds=given.seconds,
            jobs=given.jobs,
            schedules=given.schedules,
            limits=given.limits,
            flows=given.flows,
            node=given.node,
            fsync=given.fsync,
        )
        report = chaos.run()
    print(f"seed {given.seed}: {report}")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
