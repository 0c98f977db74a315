"""What is printed and written: tables of medians, with ratios, and the page docs/performance.md."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence

from bench.comparison import details
from bench.comparison.plan import COLUMNS, LIMIT, Column, Measured
from bench.harness import envs
from bench.harness.steps import median

GREEN, PLAIN, BEE = "kue (green threads)", "kue (plain threads)", "Node: bee-queue"
ASYNC = "kue (async handlers)"


def table(measured: Measured, columns: Sequence[Column] = COLUMNS) -> str:
    """Return a Markdown table of medians; a dash where nothing was measured, and notes on what failed."""
    rows = measured.rows()
    known = {*measured.values, *measured.errors}
    shown = [each for each in columns if any((row, each.key) in known for row in rows)]
    notes: list[str] = []
    lines = ["| | " + " | ".join(each.title for each in shown) + " |", "|---|" + "---:|" * len(shown)]
    for row in rows:
        cells = []
        for each in shown:
            values, error = measured.values.get((row, each.key)), measured.errors.get((row, each.key))
            if values:
                cells.append(number(median(values), each.digits))
            elif error is not None:
                if error not in notes:
                    notes.append(error)
                cells.append(f"failed ({notes.index(error) + 1})")
            else:
                cells.append("–")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    if notes:
        lines += ["", *(f"({at}) {text}  " for at, text in enumerate(notes, 1))]
    return "\n".join(lines)


def number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


class Ratios:
    """kue compared with the others in one run: a line each, with the figure that was aimed at."""

    def __init__(self, main: Measured, extra: dict[str, Measured]) -> None:
        self._main, self._extra = main, extra
        self.lines: list[str] = []
        self._peers()
        self._details()

    def table(self) -> str:
        return "\n".join(["| what | measured | target | |", "|---|---:|---:|---|", *self.lines])

    def _peers(self) -> None:
        kept = self._value(GREEN, "drain")
        for title, column, aim in (("kept", "drain", 3.0), ("nothing kept", "free", 2.0)):
            name, best = self._best(column)
            self._more(f"drain at 10 / fastest Python peer, {title} ({name})", kept, best, aim)
        self._more("drain at 10 / bee-queue, kept", kept, self._value(BEE, "drain"), 1.0)
        at_50 = self._value(GREEN, "drain50")
        self._more("drain at 50 / the server alone", at_50, self._value(LIMIT, "drain50"), 0.6)
        self._more("plain threads at 10 / green threads", self._value(PLAIN, "drain"), kept, 0.7)
        self._more("two processes / one", self._value(GREEN, "two"), kept, 1.5)
        cpu = self._value(GREEN, "cpu2")
        self._more("the same with 2 ms of CPU a job (the server idles)", self._value(GREEN, "cpu2two"), cpu, 1.5)
        name, best = self._best("enqueue")
        self._more(f"enqueue / fastest Python peer ({name})", self._value(GREEN, "enqueue"), best, 1.0)
        limit = min(self._best("bulk")[1], self._value(LIMIT, "bulk"))
        self._more("create_many / fastest Python peer's bulk or the server", self._value(GREEN, "bulk"), limit, 1.0)
        self._less("idle: save to handler, p50 ms", self._value(GREEN, "p50"), 0.7)
        self._less("idle: save to handler, p99 ms", self._value(GREEN, "p99"), 1.5)

    def _details(self) -> None:
        def value(title: str, row: str, column: str) -> float:
            found = self._extra.get(title, Measured()).values.get((row, column))
            return median(found) if found else math.nan

        one = value("producing", GREEN, "one")
        self._more("enqueue from 50 green threads / from one", value("producing", GREEN, "fifty"), one, 3.0)
        self._less("idle: save to the return of wait, p50 ms", value("producing", GREEN, "wait50"), 1.5)
        costs = [value("growth", row, "worker_us") for row in self._extra.get("growth", Measured()).rows()]
        if costs:
            self._less("worker µs a job, most waiting / fewest", costs[-1] / costs[0], 1.15)
        self._async()
        node = value("memory", "Node: kue 0.11", "bytes")
        self._less("bytes a waiting job / Node Kue's", value("memory", GREEN, "bytes") / node, 1.10)
        self._less("RSS of an idle worker with plain threads, MiB", value("memory", PLAIN, "rss"), 40)
        self._less("the same with green threads (eventlet)", value("memory", GREEN, "rss"), 40)
        plain = value("kinds", "plain", "drain")
        for kind, most in (("priorities", 1.2), ("delays", 1.2), ("retries", 2.4)):
            note = " (two attempts a job)" if kind == "retries" else ""
            self._less(f"time a job with {kind} / plain{note}", plain / value("kinds", kind, "drain"), most)
        alone, watched = (value("monitor", row, "drain") for row in ("no monitor", "monitor, 10 pages"))
        self._more("drain with 10 pages watching / without", watched, alone, 0.85)

    def _async(self) -> None:
        """Compare async handlers with the peers that have coroutines."""
        measured = self._extra.get("async", Measured())
        for title, column, aim in (
            ("drain of async handlers at 10, kept", "drain", 5.0),
            ("the same at 50", "drain50", 5.0),
        ):
            found = [(median(v), row) for (row, key), v in measured.values.items() if key == column and row != ASYNC]
            best, name = max(found, default=(math.nan, "none"))
            ours = measured.values.get((ASYNC, column))
            self._more(f"{title} / fastest peer with coroutines ({name})", median(ours or [math.nan]), best, aim)
        if seconds := measured.values.get((ASYNC, "seconds")):
            self._less("10,000 async jobs that sleep 50 ms, 500 at once, s", median(seconds), 1.3)

    def _value(self, row: str, column: str) -> float:
        values = self._main.values.get((row, column))
        return median(values) if values else math.nan

    def _best(self, column: str) -> tuple[str, float]:
        """Return name and figure of the fastest Python peer."""
        found = [
            (median(values), row)
            for (row, key), values in self._main.values.items()
            if key == column and row not in (GREEN, PLAIN, LIMIT) and not row.startswith("Node:")
        ]
        best = max(found, default=(math.nan, "none"))
        return best[1], best[0]

    def _more(self, what: str, ours: float, theirs: float, aim: float) -> None:
        self._line(what, ours / theirs if theirs else math.nan, f"≥ {aim:g}", lambda value: value >= aim)

    def _less(self, what: str, value: float, aim: float) -> None:
        self._line(what, value, f"≤ {aim:g}", lambda value: value <= aim)

    def _line(self, what: str, value: float, aim: str, reached: object) -> None:
        assert callable(reached)
        if not math.isnan(value):
            self.lines.append(f"| {what} | {value:.2f} | {aim} | {'yes' if reached(value) else 'no'} |")


#: Title, columns and a word of explanation for each table of details.
TABLES = {
    "producing": (
        "Producing and waiting",
        details.PRODUCING,
        "`wait` asks Redis once more before it listens, which is part of its time.",
    ),
    "growth": (
        "As the queue grows",
        details.GROWTH,
        "CPU of the worker process and of the server for a job at concurrency 10, by the number of jobs waiting at the "
        "start. The worker was paused while they were created.",
    ),
    "memory": ("Memory", details.MEMORY, "Data of 55 bytes, Valkey's default settings; the worker has done one job."),
    "kinds": (
        "Priorities, delays, retries",
        details.KINDS,
        "`delays`: all jobs are due at once, so the figure includes their promotion. `retries`: each job fails once, "
        "so it is attempted twice.",
    ),
    "async": (
        "Async handlers",
        details.ASYNC,
        "Coroutines in one process, concurrency 10 unless it says otherwise. 10,000 jobs that sleep 50 ms take a "
        "second if 500 always run.",
    ),
    "monitor": (
        "With the page open",
        details.KINDS,
        "A web process of its own relays every event; the clients are Python programs on the same machine, which has "
        "no core to spare for either if it has only two.",
    ),
    "killed": (
        "A worker killed",
        details.KILLED,
        "Two workers, one of them killed with SIGKILL after a quarter of the jobs, and another started at once. A job "
        "that the killed one had finished but not yet acknowledged runs again; none is acknowledged twice.",
    ),
}


def page(
    main: Measured, extra: dict[str, Measured], *, machine: str, busy: bool, server: str, runs: int, words: str
) -> str:
    """Return docs/performance.md."""
    ratios = Ratios(main, extra)
    node = ", ".join(f"{name} {version}" for name, version in envs.node_versions())
    parts = [
        "# Performance",
        'This page is written by `make bench`, which measures everything in one run; `make bench ARGS="--quick"` '
        "measures less.\n`python -m bench --help` lists the rest, `--profile` among it.",
        f"- Measured on {datetime.date.today()}: `python -m bench{words}`, "
        f"median of {runs} run{'s' if runs > 1 else ''}.\n"
        f"- {machine}.\n"
        f"- {server}, on loopback TCP, emptied before each measurement.\n"
        f"- Peers: {', '.join(envs.versions())}; on Node: {node}.",
        *(["**Other programs kept the machine busy, so the figures are too low and uneven.**"] if busy else []),
        "## Summary",
        ratios.table(),
        "The targets are the project's own. Differences under 30 % between two programs are ties: identical runs\n"
        "differ by as much on a virtual machine.",
        "## Comparison",
        table(main),
        CAVEATS,
    ]
    for key, (title, columns, text) in TABLES.items():
        if key in extra:
            parts += [f"## {title}", text, table(extra[key], columns)]
    return "\n\n".join(parts) + "\n"


CAVEATS = """\
- The server has the first core; the producer, then one worker process, has the second. With two worker processes on a
  machine of two cores, both use both. *Drain*: jobs that wait when the worker starts, counted from the first one's
  start to the last one's end, concurrency 10 unless it says 50. Slow peers are stopped at a limit; their rate so far
  counts.
- *Kept*: the finished job or its result stays in Redis, as kue does by default. *Nothing kept*: results off, or
  `removeOnComplete`. Peers run as their own documentation starts them, with the logging of each job off. RQ runs ten
  simple workers as processes, since it has no threads.
- *Start*: from before the save to the handler's first line, worker idle, one job at a time; those of kue have a second
  type without jobs. Dramatiq polls when idle.
- *Enqueue*: kue spin-waits up to 0.2 ms for the reply to a save, so it uses more of its core than the others, which
  sleep. On a contended core it yields to other processes.
- A no-op job shows the overhead of the library alone. With 2 ms of CPU a job all Python peers are the same.
- Not like for like: huey keeps no record of a job in flight and loses it when its worker is killed; kue, bullmq and
  ardiq run it again. kue publishes an event for each change of state, which most others do not.
- For kue each drain also checks that every job is recorded as complete and was handled once."""
