"""What only kue is asked: cost as work grows, memory, priorities, delays, retries, a monitor that relays everything."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

from bench.comparison.plan import WAITING_BODY, Column, Figure, Plan
from bench.harness import catalog, host
from bench.harness.server import free_port
from bench.harness.steps import Peer, StepFailed, end, percentile

ROOT = Path(__file__).resolve().parents[2]
#: Data of 55 bytes, as in the figure for Node Kue: {"n":…,"x":"…"}.
MEMORY_BYTES = 36
#: Jobs that sleep in async handlers.
SLEEPERS = 10_000
BROWSERS = 10
GROWTH = [Column("worker_us", "worker µs/job", False, 1), Column("server_us", "server µs/job", False, 1)]
MEMORY = [Column("bytes", "bytes a waiting job", False), Column("rss", "idle worker RSS, MiB", False, 1)]
KINDS = [
    Column("drain", "jobs/s"),
    Column("worker_us", "worker µs/job", False, 1),
    Column("server_us", "server µs/job", False, 1),
    Column("web_us", "web µs/job", False, 1),
]
KILLED = [
    Column("jobs", "jobs"),
    Column("lost", "lost", False),
    Column("twice", "handled twice", False),
    Column("seconds", "s from the kill to the last job", False, 1),
]
ASYNC = [
    Column("drain", "drain/s, kept"),
    Column("drain50", "drain/s at 50, kept"),
    Column("sleep50", "sleep 50 ms at 500, jobs/s"),
    Column("seconds", "s for 10,000 of them", False, 2),
    Column("worker_us", "worker µs/job", False, 1),
]
PRODUCING = [
    Column("one", "one thread/s"),
    Column("fifty", "50 threads/s"),
    Column("wait50", "save → wait p50 ms", False, 2),
    Column("wait99", "save → wait p99 ms", False, 2),
]


class Details:
    """The further steps of a run; ``quick`` does less of each. ``among(name)`` tells which peers take part."""

    def __init__(self, plan: Plan, quick: bool, among: Callable[[str], bool]) -> None:
        self.plan, self.bench, self.quick, self.among = plan, plan.bench, quick, among

    def all(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Figure]]:
        """Yield the name of a table with each figure, of the tables that are wanted."""
        for title, step in (
            ("producing", self.producing),
            ("growth", self.growth),
            ("memory", self.memory),
            ("kinds", self.kinds),
            ("async", self.async_handlers),
            ("monitor", self.monitor),
            ("killed", self.killed),
        ):
            for figure in step() if wanted(title) else ():
                yield title, figure

    def async_handlers(self) -> Iterator[Figure]:
        """Drain jobs that do nothing, and jobs that sleep, with async handlers, and by the peers that have these."""
        plan, count = self.plan, self.plan.sizes.jobs

        def idle(peer: Peer) -> dict[str, float]:
            drained = plan.drain(peer, plan.waiting(peer, count, keep=1), keep=1)
            return {"drain": drained.per_s, "worker_us": drained.worker_us}

        def at_50(peer: Peer) -> dict[str, float]:
            return {"drain50": plan.drain(peer, plan.waiting(peer, count, keep=1), keep=1, concurrency=50).per_s}

        def sleeping(peer: Peer) -> dict[str, float]:
            waiting = plan.waiting(peer, min(SLEEPERS, count), keep=1, **WAITING_BODY)
            per_s = plan.drain(peer, waiting, keep=1, **WAITING_BODY).per_s
            return {"sleep50": per_s, "seconds": SLEEPERS / per_s}

        makers = [("kue", catalog.kue_async)]
        makers += catalog.installed(lambda name: name in catalog.ASYNC and self.among(name))
        for name, make in makers:
            try:
                peer = make()
            except StepFailed as exc:
                yield name, "drain", str(exc)
                continue
            yield from plan.tried(peer.name, ("drain", "worker_us"), lambda p=peer: idle(p))
            yield from plan.tried(peer.name, ("drain50",), lambda p=peer: at_50(p))
            yield from plan.tried(peer.name, ("sleep50", "seconds"), lambda p=peer: sleeping(p))

    def producing(self) -> Iterator[Figure]:
        """Save from one and from 50 threads, and wait for a job's end; the worker is idle then."""
        count = self.plan.sizes.jobs

        def one(peer: Peer) -> dict[str, float]:
            self.bench.server.empty()
            return {"one": self.bench.enqueue(peer, count, self.plan.sizes.limit_s)["per_s"]}

        def fifty(peer: Peer) -> dict[str, float]:
            self.bench.server.empty()
            return {"fifty": self.bench.ask(peer, "threads", 50, count)["per_s"]}

        def wait(peer: Peer) -> dict[str, float]:
            self.bench.server.empty()
            with self.bench.working(peer, idle_type=1):
                self.bench.ask(peer, "wait", 20)
                times = self.bench.ask(peer, "wait", self.plan.sizes.latencies)["times"]
            return {"wait50": percentile(times, 0.5), "wait99": percentile(times, 0.99)}

        for green in (True, False):
            peer = catalog.kue(green)
            for columns, step in ((("one",), one), (("fifty",), fifty), (("wait50", "wait99"), wait)):
                yield from self.plan.tried(peer.name, columns, lambda s=step, p=peer: s(p))

    def growth(self) -> Iterator[Figure]:
        """CPU of worker and server for a job, with so many waiting when it begins."""
        for waiting in (1_000, 100_000, 1_000_000):
            row = f"{waiting:,} waiting"
            yield from self.plan.tried(row, ("worker_us", "server_us"), lambda w=waiting: self._cost(w))

    def _cost(self, waiting: int) -> dict[str, float]:
        """Fill and drain several times with one worker, which is paused meanwhile, so only work is counted."""
        server, peer = self.bench.server, catalog.kue()
        server.empty()
        want = min(5_000 if self.quick else 20_000, max(10_000, waiting))
        jobs, worker_s, server_s = 0, 0.0, 0.0
        with self.bench.working(peer) as (worker,):
            self._do(peer, worker, 100)  # imports and connections are done
            while jobs < want:
                done = sum(self.bench._tallies().values())
                server.client.sadd("q:paused", "bench")
                time.sleep(1.2)  # a worker that asks notices; one that has nothing to do looks once a second
                self.bench.ask(peer, "bulk", waiting, limit_s=120)
                part = min(waiting, 20_000)
                before = (host.cpu_seconds(worker.pid), server.cpu_seconds())
                server.client.srem("q:paused", "bench")
                self._until(lambda goal=done + part: sum(self.bench._tallies().values()) >= goal)
                reached = sum(self.bench._tallies().values()) - done
                worker_s += host.cpu_seconds(worker.pid) - before[0]
                server_s += server.cpu_seconds() - before[1]
                jobs += reached
        return {"worker_us": worker_s * 1e6 / jobs, "server_us": server_s * 1e6 / jobs}

    def memory(self) -> Iterator[Figure]:
        """Bytes of the server for a waiting job with 55 bytes of data, and the size of a worker with nothing to do."""
        for name, make in [
            ("kue (green threads)", lambda: catalog.kue(True)),
            ("kue (plain threads)", lambda: catalog.kue(False)),
            *catalog.installed(lambda name: name == "Node: kue 0.11"),
        ]:
            yield from self.plan.tried(name, ("bytes", "rss"), lambda m=make: self._size(m()))

    def _size(self, peer: Peer) -> dict[str, float]:
        server = self.bench.server
        server.empty()
        self.bench.enqueue(peer, 100, 5, bytes=MEMORY_BYTES)
        before = server.used_memory()
        made = self.bench.enqueue(peer, self.plan.sizes.jobs, 10, bytes=MEMORY_BYTES)["count"]
        each = (server.used_memory() - before) / made
        server.empty()
        with self.bench.working(peer) as (worker,):
            self._do(peer, worker, 1)
            time.sleep(1)
            return {"bytes": each, "rss": host.rss_mib(worker.pid)}

    def kinds(self) -> Iterator[Figure]:
        """The drain of plain jobs, and of those with a priority, a delay, or a failed first attempt (two attempts)."""
        for kind in ("plain", "priorities", "delays", "retries"):
            yield from self.plan.tried(f"{kind}", ("drain", "worker_us", "server_us"), lambda k=kind: self._kind(k))

    def _kind(self, kind: str) -> dict[str, float]:
        peer, count = catalog.kue(), self.plan.sizes.jobs
        self.bench.server.empty()
        self.bench.ask(peer, "bulk", count, kind=kind)
        drained = self.bench.drain(peer, count, 30, kind=kind)
        return {"drain": drained.per_s, "worker_us": drained.worker_us, "server_us": drained.server_us}

    def monitor(self) -> Iterator[Figure]:
        """The drain with a web process that relays every event, to ten pages or to ten plain clients."""
        columns = ("drain", "worker_us", "server_us", "web_us")
        yield from self.plan.tried("no monitor", columns[:3], lambda: self._kind("plain"))
        for name, watch in (("monitor, 10 pages", True), ("monitor, 10 plain clients", False)):
            yield from self.plan.tried(name, columns, lambda w=watch: self._watched(BROWSERS, w))

    def _watched(self, browsers: int, watch: bool) -> dict[str, float]:
        peer, jobs = catalog.kue(), self.plan.sizes.jobs
        self.bench.server.empty()
        self.bench.ask(peer, "bulk", jobs)
        with self._site() as (port, site), listening(port, browsers, watch) as heard:
            before = host.cpu_seconds(site.pid)
            drained = self.bench.drain(peer, jobs, 30)
            web_us = (host.cpu_seconds(site.pid) - before) * 1e6 / jobs
            self._until(lambda: min(heard) > 0)
        costs = {"worker_us": drained.worker_us, "server_us": drained.server_us, "web_us": web_us}
        return {"drain": drained.per_s, **costs}

    def killed(self) -> Iterator[Figure]:
        """Kill one of two workers with SIGKILL in mid-drain, start another, and count what became of all jobs."""
        yield from self.plan.tried("SIGKILL in mid-drain", tuple(each.key for each in KILLED), self._killed)

    def _killed(self) -> dict[str, float]:
        peer, count = catalog.kue(), self.plan.sizes.jobs
        server, began = self.bench.server, time.monotonic()
        server.empty()
        self.bench.ask(peer, "bulk", count)

        def handled() -> int:
            return sum(self.bench._tallies().values())

        def complete() -> int:
            return int(server.client.zcard("q:jobs:complete"))  # type: ignore[arg-type]

        with self.bench.working(peer, 2) as workers:
            self._until(lambda: len(self.bench._tallies()) == 2 and handled() > count // 4)
            workers[0].kill()
            began = time.monotonic()
            workers.append(self.bench._start(peer, ("work",), {}, None, 2))
            self._until(lambda: complete() >= count)
            seconds = time.monotonic() - began
            ids = {int(str(zid).partition("|")[2]) for zid in server.client.zrange("q:jobs:complete", 0, -1)}
            lost = count - len(ids & set(range(1, count + 1)))
            return {"jobs": count, "lost": lost, "twice": handled() - count, "seconds": seconds}

    @contextlib.contextmanager
    def _site(self) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
        """Run the web program, without workers, on the cores that are left (the server's and the worker's, if none)."""
        port = free_port()
        with (self.bench.folder / "stderr").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--workers", "0"],
                env={**os.environ, "REDIS_URL": self.bench.server.url},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: host.begin(spare_cores()),
            )
        try:
            self._until(lambda: answers(port))
            yield port, process
        finally:
            end(process)

    def _do(self, peer: Peer, worker: subprocess.Popen[bytes], count: int) -> None:
        """Let an idle worker do a few jobs."""
        self.bench.enqueue(peer, count, 10)
        self._until(lambda: sum(self.bench._tallies().values()) >= count)

    def _until(self, true: Callable[[], bool], limit_s: float = 60) -> None:
        give_up = time.monotonic() + limit_s
        while not true():
            if time.monotonic() > give_up:
                raise StepFailed(f"not within {limit_s:.0f} s")
            time.sleep(0.005)


def spare_cores() -> set[int]:
    found = host.cores()
    return set(found[2:] or found)


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextlib.contextmanager
def listening(port: int, count: int, watch: bool) -> Iterator[list[int]]:
    """Have ``count`` Socket.IO clients listen, in a thread each; yield how many packets each has got."""
    import websocket  # a development requirement

    heard, stop = [0] * count, threading.Event()
    ready = threading.Barrier(count + 1)

    def listen(at: int) -> None:
        host.pin(0, spare_cores())
        # Its check of UTF-8 is in Python and costs many times what a browser's does.
        options = {"timeout": 10, "skip_utf8_validation": True}
        line = websocket.create_connection(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", **options)
        line.recv()
        line.send("40")
        line.recv()
        if watch:
            line.send('420["watch",{}]')
            line.recv()
        line.settimeout(0.5)
        ready.wait(20)
        while not stop.is_set():
            try:
                packet = line.recv()
            except websocket.WebSocketTimeoutException:
                continue
            except (websocket.WebSocketException, OSError):
                return
            if packet == "2":
                line.send("3")
            else:
                heard[at] += 1
        line.close()

    threads = [threading.Thread(target=listen, args=(at,), daemon=True) for at in range(count)]
    for thread in threads:
        thread.start()
    try:
        ready.wait(20)
        yield heard
    finally:
        stop.set()
        for thread in threads:
            thread.join(5)
