"""What is measured of each peer, and of kue alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.comparison.limit import create_limit, work_limit
from bench.harness.catalog import kue
from bench.harness.steps import Bench, Drained, Peer, StepFailed, percentile


@dataclass(frozen=True)
class Sizes:
    """How much is measured. Seconds are limits: what is not done by then is extrapolated from what was."""

    jobs: int
    limit_s: float
    #: The same for saving jobs one at a time.
    enqueue_s: float
    latencies: int
    #: Whether peers are measured with more than one concurrency, process count and body.
    all_of_peers: bool


FULL = Sizes(jobs=20_000, limit_s=8.0, enqueue_s=16.0, latencies=500, all_of_peers=True)
QUICK = Sizes(jobs=20_000, limit_s=2.0, enqueue_s=2.5, latencies=300, all_of_peers=False)


#: A figure by row and column; or the text of what went wrong.
Figure = tuple[str, str, float | str]


@dataclass
class Column:
    key: str
    title: str
    #: Whether more is better; for latencies it is less.
    more: bool = True
    digits: int = 0


COLUMNS = [
    Column("enqueue", "enqueue/s"),
    Column("bulk", "bulk/s"),
    Column("drain", "drain/s, kept"),
    Column("free", "drain/s, nothing kept"),
    Column("drain50", "drain/s at 50, kept"),
    Column("two", "2 processes, kept"),
    Column("p50", "start p50 ms", False, 2),
    Column("p99", "start p99 ms", False, 2),
    Column("kb10", "10 KB data/s"),
    Column("sleep10", "sleep 10 ms/s"),
    Column("cpu2", "CPU 2 ms/s"),
    Column("cpu2two", "the same, 2 processes"),
    Column("worker_us", "worker µs/job", False, 1),
    Column("server_us", "server µs/job", False, 1),
]


@dataclass
class Measured:
    """Everything that was found out, one list of values (one for each run) a figure."""

    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, row: str, column: str, value: float | str) -> None:
        if isinstance(value, str):
            self.errors[row, column] = value
        else:
            self.values.setdefault((row, column), []).append(value)

    def rows(self) -> list[str]:
        return list(dict.fromkeys(row for row, _ in (*self.values, *self.errors)))


class Plan:
    """The steps for one run, in order."""

    def __init__(self, bench: Bench, sizes: Sizes, say: Callable[[str], None]) -> None:
        self.bench, self.sizes, self.say = bench, sizes, say

    def peer(self, peer: Peer) -> Iterator[Figure]:
        """Measure what can be measured of any peer."""
        ours = peer.name.startswith("kue ")
        yield from self.tried(peer.name, ("enqueue", "drain"), lambda: self._kept(peer))
        if False in peer.keeps:
            yield from self.tried(peer.name, ("free",), lambda: self._free(peer))
        if peer.has_bulk:
            yield from self.tried(peer.name, ("bulk",), lambda: self._bulk(peer))
        yield from self.tried(peer.name, ("p50", "p99"), lambda: self._latency(peer))
        if not peer.pool and (ours or self.sizes.all_of_peers):
            yield from self.tried(peer.name, ("drain50",), lambda: self._at_50(peer))
            yield from self.tried(peer.name, ("two",), lambda: self._two(peer))
            yield from self.tried(peer.name, ("cpu2two",), lambda: self._body(peer, "cpu2two", BODIES["cpu2"], 2))
        if ours or self.sizes.all_of_peers:
            for column, settings in BODIES.items():
                yield from self.tried(peer.name, (column,), lambda s=settings, c=column: self._body(peer, c, s))

    def limits(self) -> Iterator[Figure]:
        """Measure what the server can do with kue's scripts, however fast its client is."""
        server, seconds = self.bench.server, min(3.0, self.sizes.limit_s)

        def create(batch: int) -> float:
            server.empty()
            return create_limit(server, batch, seconds)

        def work(batch: int) -> float:
            server.empty()
            self.fill(self.sizes.jobs * 2)
            return work_limit(server, batch, self.sizes.limit_s * 2)

        for column, step in (
            ("enqueue", lambda: create(1)),
            ("bulk", lambda: create(100)),
            ("drain", lambda: work(10)),
            ("drain50", lambda: work(50)),
        ):
            yield from self.tried(LIMIT, (column,), lambda c=column, s=step: {c: s()})

    def fill(self, count: int, **settings: object) -> None:
        """Let jobs of kue wait."""
        self.bench.ask(kue(), "bulk", count, limit_s=120, **settings)

    # The steps

    def _kept(self, peer: Peer) -> dict[str, float]:
        self.bench.server.empty()
        made = self.bench.enqueue(peer, self.sizes.jobs, self.sizes.enqueue_s, keep=1)
        count, left = int(made["count"]), self.sizes.jobs - int(made["count"])
        if peer.has_bulk and left > 0:
            count += int(self.bench.ask(peer, "bulk", left, keep=1)["count"])
        drained = self.drain(peer, count, keep=1)
        return {
            "enqueue": made["per_s"],
            "drain": drained.per_s,
            "worker_us": drained.worker_us,
            "server_us": drained.server_us,
        }

    def _free(self, peer: Peer) -> dict[str, float]:
        return {"free": self.drain(peer, self.waiting(peer, self.sizes.jobs, keep=0), keep=0).per_s}

    def _at_50(self, peer: Peer) -> dict[str, float]:
        count = self.waiting(peer, self.sizes.jobs, keep=1)
        return {"drain50": self.drain(peer, count, keep=1, concurrency=50).per_s}

    def _two(self, peer: Peer) -> dict[str, float]:
        count = self.waiting(peer, self.sizes.jobs * (2 if peer.has_bulk else 1), keep=1)
        return {"two": self.drain(peer, count, processes=2, keep=1).per_s}

    def _bulk(self, peer: Peer) -> dict[str, float]:
        self.bench.server.empty()
        return {"bulk": self.bench.ask(peer, "bulk", self.sizes.jobs * 2)["per_s"]}

    def _latency(self, peer: Peer) -> dict[str, float]:
        self.bench.server.empty()
        times = self.bench.latency(peer, self.sizes.latencies, keep=1, idle_type=1)
        return {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99)}

    def _body(self, peer: Peer, column: str, settings: dict[str, object], processes: int = 1) -> dict[str, float]:
        wanted = 10_000 if column == "kb10" else 2_000
        count = self.waiting(peer, min(wanted, self.sizes.jobs), keep=1, **settings)
        return {column: self.drain(peer, count, processes, keep=1, **settings).per_s}

    def waiting(self, peer: Peer, count: int, **settings: object) -> int:
        """Let jobs wait, as many as can be made in the time; return how many."""
        self.bench.server.empty()
        if peer.has_bulk:
            return int(self.bench.ask(peer, "bulk", count, **settings)["count"])
        return int(self.bench.enqueue(peer, count, self.sizes.limit_s, **settings)["count"])

    def drain(self, peer: Peer, count: int, processes: int = 1, **settings: object) -> Drained:
        ended = None
        if peer.name.startswith("kue ") and settings.get("keep") == 1:
            client = self.bench.server.client
            ended = lambda: client.zcard("q:jobs:complete")  # noqa: E731
        drained = self.bench.drain(peer, count, self.sizes.limit_s, processes, ended, **settings)
        if drained.wrong:
            raise StepFailed(f"{drained.wrong} jobs were lost or done twice")
        return drained

    def tried(self, row: str, columns: tuple[str, ...], step: Callable[[], dict[str, float]]) -> Iterator[Figure]:
        try:
            found = step()
        except StepFailed as exc:
            self.say(f"{row}: {exc}")
            for column in columns:
                yield row, column, str(exc)
            return
        self.say(f"{row}: " + ", ".join(f"{key} {value:,.6g}" for key, value in found.items()))
        for column, value in found.items():
            yield row, column, value


#: The row of the server's own limit.
LIMIT = "the server alone (kue's scripts)"
BODIES: dict[str, dict[str, object]] = {
    "kb10": {"bytes": 10_000},
    "sleep10": {"body": "sleep10"},
    "cpu2": {"body": "cpu2"},
}
#: Jobs that wait on an event loop, and how many of them at once.
WAITING_BODY: dict[str, object] = {"body": "sleep50", "concurrency": 500}


def profile(bench: Bench, sizes: Sizes, green: bool, concurrency: int, say: Callable[[str], None]) -> None:
    """Drain once with the sampler on; print where worker and server spent their time."""
    from bench.harness import sampler

    peer, path = kue(green), bench.folder / "profile.json"
    bench.server.empty()
    count = sizes.jobs * 2
    bench.ask(peer, "bulk", count, limit_s=120)
    bench.server.client.config_resetstat()
    drained = bench.drain(peer, count, 60, concurrency=concurrency, profile=path)
    say(f"\n== {peer.name}, concurrency {concurrency}: {drained.per_s:,.0f} jobs/s")
    say(f"CPU a job: worker {drained.worker_us:.1f} µs, server {drained.server_us:.1f} µs; 1 s has "
        f"{1e6 / drained.per_s:.1f} µs a job")  # fmt: skip
    say("\nThe server's commands: calls a job, µs a job (a script's time holds that of the commands inside)")
    times = sorted(bench.server.command_times().items(), key=lambda each: -each[1][1])
    for name, (calls, micros) in times[:16]:
        say(f"{calls / count:8.3f} {micros / count:8.2f}  {name}")
    say("\nThe worker:")
    say(sampler.report(path))
    path.unlink()


