"""Past one machine, on one machine: two web and four worker processes over a Cluster of three nodes with eight queues.

    python -m bench.scaling [--jobs 20000]

One node is killed with SIGKILL while all work and produce, and started again on its own file. Counted are the jobs that
were promised (``save`` or the JSON API has answered), handled, and recorded as complete. Nothing may be missing.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import kue
from bench.harness import host
from bench.harness.cluster import Cluster, until
from bench.harness.server import Server, ending_with_us, free_port

HERE = Path(__file__).resolve().parent
QUEUES, WORKERS, WEBS = 8, 4, 2
#: Jobs in one call of ``create_many``.
BATCH = 100


@dataclass
class Outcome:
    """What became of the jobs of one run."""

    promised: int = 0
    complete: int = 0
    #: Promised jobs that no worker has handled.
    missing: int = 0
    #: Jobs handled more than once: taken back from a call whose answer was lost.
    repeated: int = 0
    #: Jobs a second: before the node was killed, and over the whole run.
    before_per_s: float = 0.0
    per_s: float = 0.0
    #: Longest time in which no job of the killed node's queues was done, and of all others, seconds.
    gap_s: float = 0.0
    others_gap_s: float = 0.0
    #: Calls that could not promise anything, and said so.
    refused: int = 0
    webs_agree: bool = True


@dataclass
class Run:
    """The processes of one run, and what they promised."""

    url: str
    prefixes: Sequence[str]
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    ids: dict[str, set[int]] = field(default_factory=lambda: collections.defaultdict(set))
    refused: int = 0

    def work(self, processes: int, concurrency: int = 5) -> None:
        """Start worker processes, each for all queues."""
        command = [sys.executable, str(HERE / "scaling_worker.py"), self.url, str(self.folder / "handled")]
        for _ in range(processes):
            self._start([*command, str(concurrency), *self.prefixes], {})

    def serve(self, webs: int) -> None:
        """Start web processes without workers, one for each of the first queues."""
        for prefix in self.prefixes[:webs]:
            self.ports.append(port := free_port())
            self._start(
                [sys.executable, str(HERE.parent / "app.py"), "--port", str(port)],
                {"REDIS_URL": self.url, "KUE_PREFIX": prefix, "KUE_WORKERS": "0", "DOWNLOAD_DIR": str(self.folder)},
            )
        for port in self.ports:
            until(lambda p=port: self.stats(p) is not None, 30, "the web processes answer")

    def produce(self, jobs: int) -> None:
        """Enqueue the wanted number of jobs, in all queues in turn; what is refused is retried."""
        queues = [kue.create_queue(self.url, prefix) for prefix in self.prefixes]
        each = jobs // len(queues)

        def fill(queue: kue.Queue) -> None:
            while (left := each - len(self.ids[queue.prefix])) > 0:
                try:
                    made = queue.create_many([{"type": "bench", "data": {"n": n}} for n in range(min(left, BATCH))])
                except kue.QueueUnavailable:
                    self.refused += 1
                    continue
                self.ids[queue.prefix].update(int(str(job.id)) for job in made)
                time.sleep(0.01)

        threads = [threading.Thread(target=fill, args=(queue,)) for queue in queues]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for queue in queues:
            queue.close()

    def post(self, port: int, prefix: str, count: int) -> None:
        """Promise jobs through the JSON API of a web process."""
        body = json.dumps({"type": "bench", "data": {"from": "web"}}).encode()
        made = 0
        while made < count:
            wanted = Request(f"http://127.0.0.1:{port}/job", body, {"Content-Type": "application/json"})
            try:
                with urlopen(wanted, timeout=15) as answer:
                    self.ids[prefix].add(int(json.loads(answer.read())["id"]))
                made += 1
            except OSError:
                self.refused += 1
                time.sleep(0.1)

    def stats(self, port: int) -> Any:
        try:
            with urlopen(f"http://127.0.0.1:{port}/stats", timeout=10) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    def promised(self) -> int:
        return sum(len(ids) for ids in self.ids.values())

    def handled(self) -> list[tuple[str, int]]:
        path = self.folder / "handled"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(prefix, int(job_id)) for prefix, job_id in (line.split(" ") for line in lines if " " in line)]

    def end(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, command: list[str], environ: dict[str, str]) -> None:
        with (self.folder / "processes.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    ending_with_us(command),
                    env={**os.environ, **environ},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )


def lose_a_node(jobs: int, down_s: float = 2.0, limit_s: float = 120.0) -> Outcome:
    """Kill the first node in the middle of the work, start it again ``down_s`` later; return what became of all."""
    with tempfile.TemporaryDirectory(prefix="kue-scaling-") as name, Cluster(Path(name)) as cluster:
        run = Run(cluster.url, cluster.prefixes(QUEUES), Path(name))
        outcome = Outcome()
        try:
            run.serve(WEBS)
            run.work(WORKERS)
            producers = [threading.Thread(target=run.produce, args=(jobs,))]
            for port, prefix in zip(run.ports, run.prefixes, strict=False):
                producers.append(threading.Thread(target=run.post, args=(port, prefix, 20)))
            watch = _Watch(run, {prefix for at, prefix in enumerate(run.prefixes) if at % 3 == 0})
            for thread in producers:
                thread.start()
            until(lambda: len(run.handled()) >= jobs // 3, limit_s, "a third of the jobs is done")
            outcome.before_per_s = watch.rate()
            cluster.kill(0)
            time.sleep(down_s)
            cluster.start(0)
            for thread in producers:
                thread.join(limit_s)
            queues = [kue.create_queue(cluster.url, prefix) for prefix in run.prefixes]
            try:
                total = run.promised()
                until(lambda: complete(queues) >= total, limit_s, "all are complete")
                outcome.complete = complete(queues)
                outcome.per_s = watch.rate()
                waiting = sum(sum(queue.counts().values()) for queue in queues) - outcome.complete
                agreed = [
                    (run.stats(port) or {}).get("completeCount") == queue.complete_count()
                    for port, queue in zip(run.ports, queues, strict=False)
                ]
            finally:
                for queue in queues:
                    queue.close()
            watch.stop()
            handled = collections.Counter(run.handled())
            promised = {(prefix, job_id) for prefix, ids in run.ids.items() for job_id in ids}
            outcome.promised, outcome.refused = len(promised), run.refused
            outcome.missing = len(promised - set(handled)) + waiting
            outcome.repeated = sum(count - 1 for count in handled.values())
            outcome.webs_agree = all(agreed)
            outcome.gap_s, outcome.others_gap_s = watch.gaps
        finally:
            run.end()
    return outcome


def complete(queues: Sequence[kue.Queue]) -> int:
    """Return how many jobs are recorded as complete; 0 while a node is not there."""
    try:
        return sum(queue.complete_count() for queue in queues)
    except kue.QueueUnavailable:
        return 0


class _Watch:
    """Looks now and then at what is done: how fast, and how long nothing was done."""

    def __init__(self, run: Run, hit: set[str]) -> None:
        self._run, self._hit = run, hit
        self._began = time.monotonic()
        self.gaps = [0.0, 0.0]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def rate(self) -> float:
        return len(self._run.handled()) / (time.monotonic() - self._began)

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _look(self) -> None:
        seen, since = [0, 0], [time.monotonic()] * 2
        while not self._stopped.wait(0.1):
            handled = self._run.handled()
            hit = sum(prefix in self._hit for prefix, _ in handled)
            for at, count in enumerate((hit, len(handled) - hit)):
                now = time.monotonic()
                if count != seen[at]:
                    if seen[at]:
                        self.gaps[at] = max(self.gaps[at], now - since[at])
                    seen[at], since[at] = count, now


def one_server(jobs: int) -> dict[str, float]:
    """Return what workers cost a single server: connections, bytes a waiting and a finished job; and their jobs/s."""
    with tempfile.TemporaryDirectory(prefix="kue-scaling-") as name, Server() as server:
        run = Run(server.url, ["q"], Path(name))
        try:
            queue = kue.create_queue(server.url)
            before = len(server.client.client_list())  # type: ignore[arg-type]
            run.work(1, 10)
            until(lambda: queue.workers(), 20, "a worker has said that it is there")
            time.sleep(1)
            connections = len(server.client.client_list()) - before - 1  # type: ignore[arg-type]
            run.work(WORKERS - 1, 10)
            until(lambda: len(queue.workers()) == WORKERS, 20, "all workers are there")
            queue.pause("bench")
            time.sleep(1.5)
            empty = server.used_memory()
            for at in range(0, jobs, 1000):
                queue.create_many([{"type": "bench", "data": {"n": n}} for n in range(at, min(at + 1000, jobs))])
            waiting = (server.used_memory() - empty) / jobs
            began = time.monotonic()
            queue.resume("bench")
            until(lambda: len(run.handled()) > 0, 10, "work begins")
            began = time.monotonic()
            until(lambda: queue.complete_count() >= jobs, 120, "all is done")
            seconds = time.monotonic() - began
            finished = (server.used_memory() - empty) / jobs
            queue.close()
        finally:
            run.end()
    return {"connections": connections, "waiting": waiting, "finished": finished, "per_s": jobs / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, metavar="N")
    jobs = parser.parse_args().jobs
    print(host.describe())
    one = one_server(jobs)
    print(
        f"one server: {one['connections']:.0f} connections an idle worker process, {one['waiting']:.0f} bytes a "
        f"waiting job, {one['finished']:.0f} a finished one, {one['per_s']:,.0f} jobs/s with {WORKERS} processes"
    )
    outcome = lose_a_node(jobs)
    print(f"{WEBS} web and {WORKERS} worker processes, {QUEUES} queues on 3 nodes, one killed for 2 s: {outcome}")
    if outcome.missing or outcome.complete != outcome.promised or not outcome.webs_agree:
        sys.exit("bench: jobs were lost")


if __name__ == "__main__":
    main()
