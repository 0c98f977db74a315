"""One measurement at a time: run a peer's program against an emptied server, with a limit, and read what it did."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.harness import host
from bench.harness.server import Server
from bench.peers import common

#: Why a step with several processes has no figure.
ALL_DONE_BEFORE = "every job was done before the last process had begun: more jobs are needed"
#: Seconds between two looks at the tallies: a hundredth of the shortest drain.
LOOK_S = 0.005
#: Looks at a tally that is just being written.
LOOKS = 100
#: Seconds that a worker may take until its first job.
START_S = 40.0


class StepFailed(Exception):
    """A measurement that could not be made; its text goes into the table."""


@dataclass
class Peer:
    """A library with the way to run its programs."""

    name: str
    #: The program, before ``enqueue N``, ``work`` …
    command: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    #: Worker processes that one ``work`` starts by itself (0: one).
    pool: int = 0
    #: Whether it has a mode that keeps nothing; None of its rows then.
    keeps: Sequence[bool] = (True, False)
    has_bulk: bool = False
    directory: Path | None = None

    def environment(self, server: Server, folder: Path, **settings: object) -> dict[str, str]:
        own = {f"BENCH_{name.upper()}": str(value) for name, value in settings.items()}
        return {
            **os.environ,
            **self.env,
            **own,
            "BENCH_URL": server.url,
            "BENCH_PORT": str(server.port),
            "BENCH_DIR": str(folder),
            "PYTHONUNBUFFERED": "1",
        }


@dataclass
class Drained:
    """What a drain showed."""

    per_s: float
    jobs: int
    #: CPU of all worker processes, and of the server, µs a job.
    worker_us: float
    server_us: float
    #: Jobs that were handled more than once or not at all, where that could be counted.
    wrong: int = 0


class Bench:
    """The server, a folder, and the steps."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.folder = Path(tempfile.mkdtemp(prefix="kue-bench-"))
        #: Where in ``stderr`` begins what the program that was started last says.
        self._said_before = 0

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    # Programs that say what they did

    def ask(self, peer: Peer, *words: object, limit_s: float = 60, **settings: object) -> dict[str, Any]:
        """Run a peer's program to its end; return the JSON that it prints last."""
        process = self._start(peer, words, settings, subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise StepFailed(f"not within {limit_s:.0f} s") from None
        finally:
            end(process)
        lines = output.decode().strip().splitlines()
        # One that has said all and then crashes on its way out has measured all the same.
        if process.returncode > 0 or not (lines and lines[-1].startswith("{")):
            raise StepFailed(self._last_words(process))
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer

    def enqueue(self, peer: Peer, count: int, limit_s: float, **settings: object) -> dict[str, Any]:
        """Save jobs one at a time from one thread; return ``count`` made and ``per_s``."""
        return self.ask(peer, "enqueue", count, limit_s, limit_s=limit_s + START_S, **settings)

    # Workers

    @contextlib.contextmanager
    def working(self, peer: Peer, processes: int = 1, **settings: object) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Run worker processes meanwhile; ended and cleared away afterwards."""
        for old in self.folder.glob("*.tally"):
            old.unlink()
        (self.folder / "latencies").unlink(missing_ok=True)
        started = [self._start(peer, ("work",), settings, None, processes) for _ in range(processes)]
        try:
            yield started
        finally:
            for process in started:
                end(process)

    def drain(
        self, peer: Peer, count: int, limit_s: float, processes: int = 1, ended: Any = None, **settings: object
    ) -> Drained:
        """Let workers do the ``count`` waiting jobs, or as many as they can in ``limit_s``.

        Counted from the first job of the last process that started, so start-up is left out. ``ended()`` says, for kue,
        how many jobs are recorded as complete.
        """
        with self.working(peer, processes, **settings) as workers:
            expected = max(peer.pool, processes)
            give_up = time.monotonic() + START_S
            while len(tallies := self._tallies()) < expected and sum(tallies.values()) < count:
                self._check_alive(workers)
                if time.monotonic() > give_up:
                    if tallies:
                        break  # a pool whose processes do not all get a job
                    raise StepFailed(f"no job was done within {START_S:.0f} s")
                time.sleep(LOOK_S)
            began, first = time.time(), sum(self._tallies().values())
            if processes > 1 and first >= count:
                raise StepFailed(ALL_DONE_BEFORE)
            cpu, server_cpu = self._cpu(), self.server.cpu_seconds()
            if processes == 1 and not peer.pool and first < count:
                began, first = self._times()[0], 0
            cpu_first = sum(self._tallies().values())
            give_up = time.monotonic() + limit_s
            while (done := sum(self._tallies().values())) < count and time.monotonic() < give_up:
                self._check_alive(workers)
                time.sleep(LOOK_S)
            last = self._times()[1] if done >= count else time.time()
            wrong = 0
            if ended is not None and done >= count:
                give_up = time.monotonic() + 5
                while ended() != count and time.monotonic() < give_up:
                    time.sleep(LOOK_S)
                wrong = abs(ended() - count) + abs(sum(self._tallies().values()) - count)
            done = sum(self._tallies().values())
            cpu_jobs = max(1, done - cpu_first)
            return Drained(
                per_s=(done - first) / max(1e-6, last - began),
                jobs=done,
                worker_us=(self._cpu() - cpu) * 1e6 / cpu_jobs,
                server_us=(self.server.cpu_seconds() - server_cpu) * 1e6 / cpu_jobs,
                wrong=wrong,
            )

    def latency(self, peer: Peer, count: int, pause_ms: float = 10, **settings: object) -> list[float]:
        """Save jobs for an idle worker, one now and then; return the ms from before the save to its handler."""
        with self.working(peer, **settings):
            self.ask(peer, "latency", 5, pause_ms, **settings)
            self._wait_for_latencies(1, START_S)
            time.sleep(0.5)  # it has worked off what had gathered, and is idle
            before = len(self._latencies())
            self.ask(peer, "latency", count, pause_ms, **settings)
            self._wait_for_latencies(before + count, 10)
            return self._latencies()[before:]

    def _start(
        self, peer: Peer, words: Sequence[object], settings: Mapping[str, object], out: Any, processes: int = 1
    ) -> subprocess.Popen[bytes]:
        with (self.folder / "stderr").open("ab") as log:
            self._said_before = log.tell()
            process = subprocess.Popen(
                [*peer.command, *map(str, words)],
                env=peer.environment(self.server, self.folder, **settings),
                cwd=peer.directory or self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out or log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: host.begin(host.peer_cores(processes)),
            )
        return process

    def _check_alive(self, workers: list[subprocess.Popen[bytes]]) -> None:
        for worker in workers:
            if worker.poll() is not None:
                raise StepFailed(f"its worker ended: {self._last_words(worker)}")

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        said = (self.folder / "stderr").read_bytes()[self._said_before :].decode(errors="replace")
        lines = said.strip().splitlines() or ["no message"]
        telling = [line for line in lines if "Error" in line] or lines
        return f"status {process.returncode}: {telling[-1].strip()[:200]}"

    def _tally(self) -> dict[int, tuple[int, float, float]]:
        found = {}
        for path in self.folder.glob("*.tally"):
            for _ in range(LOOKS):
                data = path.read_bytes()
                tally = common.TALLY.unpack(data) if len(data) == common.TALLY.size else (0, 0.0, 0.0)
                if all(tally):
                    found[int(path.stem)] = tally
                if all(tally) or not any(tally):
                    break  # else it was being written: struct puts zeros there first
        return found

    def _tallies(self) -> dict[int, int]:
        return {pid: tally[0] for pid, tally in self._tally().items()}

    def _times(self) -> tuple[float, float]:
        """Return when the first job began and the last one ended."""
        tallies = self._tally().values()
        return min(tally[1] for tally in tallies), max(tally[2] for tally in tallies)

    def _cpu(self) -> float:
        total = 0.0
        for pid in self._tally():
            with contextlib.suppress(OSError):
                total += host.cpu_seconds(pid)
        return total

    def _latencies(self) -> list[float]:
        path = self.folder / "latencies"
        return [float(line) for line in path.read_text().split()] if path.exists() else []

    def _wait_for_latencies(self, count: int, limit_s: float) -> None:
        give_up = time.monotonic() + limit_s
        while len(self._latencies()) < count:
            if time.monotonic() > give_up:
                raise StepFailed(f"{len(self._latencies())} of {count} jobs were done")
            time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it started: politely, then not."""
    for number, wait_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        if process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
        if process.poll() is not None and number == signal.SIGTERM:
            time.sleep(0.02)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else float("nan")
