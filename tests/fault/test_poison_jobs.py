"""A job that crashes its process affects no other job: twenty innocent ones complete, once each."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kue
from tests.support import ROOT, wait_until

pytestmark = pytest.mark.long

LIMIT_S = 90.0
INNOCENT = 20
LEASE_MS = 3000

JOBS = '''
import asyncio, ctypes, os, signal, sys, time
import kue

queue = kue.create_queue(os.environ["URL"], lease_ms=int(os.environ["LEASE_MS"]))

def note(job):
    with open("pids", "a") as file:
        print(job.data.get("how"), os.getpid(), file=file)
    return job.data.get("how")

def work(job):
    how = note(job)
    if how is None:
        time.sleep(0.2)
        return "done"
    time.sleep(0.1)  # others run beside it
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(3)
    elif how == "kill":  # as by a kernel that is out of memory
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "c loop":
        sum(range(10**13))
    elif how == "memory":
        held = []
        while True:
            held.append(b"x" * 2**20)
    while True:  # swallows what should end it
        try:
            while True:
                time.sleep(0.05)
        except BaseException:
            pass

async def async_work(job):
    how = note(job)
    await asyncio.sleep(0.1 if how else 0.2)
    if how is None:
        return "done"
    if how == "exit":
        os._exit(3)
    while True:  # swallows what should end it
        try:
            while True:
                await asyncio.sleep(0.05)
        except BaseException:
            pass

options = {"isolation": "process", "memory_limit": "200M"} if os.environ["KIND"] == "isolated" else {}
fn = {"nested": lambda job: work(job), "async": async_work}.get(os.environ["KIND"], work)
queue.process("work", 4, fn, **options)
'''


class Supervised:
    """``kue worker -p 2`` in a folder, with the pids of all that it has started."""

    def __init__(self, folder: Path, url: str, kind: str) -> None:
        (folder / "crashing_jobs.py").write_text(JOBS)
        self.folder, self.pids = folder, Counter[int]()
        environ = {**os.environ, "URL": url, "KIND": kind, "LEASE_MS": str(LEASE_MS), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "kue", "worker", "crashing_jobs:queue", "-p", "2", "--timeout", "200ms"]
        self.output = (folder / "output").open("wb")
        self.process = subprocess.Popen(command, cwd=folder, env=environ, stdout=self.output, stderr=self.output)

    def text(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def runs_of(self, how: str) -> list[int]:
        """Return the processes in which a job of that kind has begun."""
        path = self.folder / "pids"
        lines = path.read_text().splitlines() if path.exists() else []
        return [int(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{how} ")]

    def stop(self) -> None:
        """Stop it; all that it has ever started must be gone."""
        if self.process.poll() is None:
            self.note()
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        self.process.kill()
        self.output.close()

    def note(self) -> list[int]:
        """Remember the processes below the supervisor; return those that work on jobs."""
        workers = children_of(self.process.pid)
        for pid in workers:
            self.pids.update([pid, *children_of(pid)])
        return workers


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def supervised(tmp_path: Path, redis_url: str) -> Iterator[Callable[[str], Supervised]]:
    started: list[Supervised] = []

    def start(kind: str) -> Supervised:
        started.append(Supervised(tmp_path, redis_url, kind))
        return started[-1]

    yield start
    for each in started:
        each.stop()
        wait_until(lambda each=each: not any(map(is_alive, each.pids)), 15, message="nothing stays behind")


class Scene:
    """A guilty job among innocent ones, and the events of all."""

    def __init__(self, queue: kue.Queue, how: str, **options: Any) -> None:
        self.queue, self.completed = queue, Counter[int]()
        queue.on("job complete", lambda job_id, *args: self.completed.update([job_id]))
        innocent = [{"type": "work", "data": {}, "attempts": 3} for _ in range(INNOCENT)]
        half = INNOCENT // 2
        guilty = {"type": "work", "data": {"how": how}, "attempts": 1, **options}
        made = queue.create_many([*innocent[:half], guilty, *innocent[half:]])
        self.guilty, self.innocent = made[half], [*made[:half], *made[half + 1 :]]

    def innocent_complete(self) -> None:
        """Wait until they have, each once, and with all attempts but that one left."""
        for job in self.innocent:
            assert job.wait(LIMIT_S) == "done"
            assert (job.refresh().state, job.attempts_made, job.deaths) == ("complete", 1, 0)
        ids = {job.id for job in self.innocent}
        wait_until(lambda: ids <= set(self.completed), LIMIT_S)
        assert {self.completed[job_id] for job_id in ids} == {1}

    def guilty_fails(self) -> str:
        wait_until(lambda: self.guilty.refresh().state == "failed", LIMIT_S, 0.05)
        return self.guilty.error or ""


@pytest.fixture
def scene(redis_url: str) -> Iterator[Callable[..., Scene]]:
    queue = kue.create_queue(redis_url, lease_ms=LEASE_MS)
    yield lambda how, **options: Scene(queue, how, **options)
    queue.close()


IN_CHILD = {
    "segfault": "The handler's process was killed by SIGSEGV",
    "exit": "The handler's process exited with code 3",
    "kill": "The handler's process was killed by SIGKILL",
}


@pytest.mark.parametrize(
    ("kind", "how"), [("importable", "segfault"), ("importable", "exit"), ("importable", "kill"), ("async", "exit")]
)
def test_a_job_that_kills_its_process_is_found_in_a_child(
    supervised: Callable[[str], Supervised], scene: Callable[..., Scene], kind: str, how: str
) -> None:
    jobs, worker = scene(how), supervised(kind)
    assert jobs.guilty_fails().startswith(IN_CHILD[how])
    jobs.innocent_complete()
    worker.note()
    # It took two worker processes with it, and a child
    assert len(set(worker.runs_of(how))) == 3
    assert "restarting in" not in worker.text() and worker.text().count("restarting now") == 2
    log = jobs.queue.log(jobs.guilty.id)
    assert [line.partition(" ")[0] for line in log[:4]] == ["Rescued", "Rescued", "Suspect:", "Suspect:"]
    assert [entry["outcome"] for entry in jobs.guilty.attempt_log] == ["rescued", "rescued", "failed"]


@pytest.mark.parametrize("how", ["segfault", "c loop"])
def test_a_handler_that_no_child_can_import_is_found_alone(
    supervised: Callable[[str], Supervised], scene: Callable[..., Scene], how: str
) -> None:
    jobs, worker = scene(how), supervised("nested")
    error = jobs.guilty_fails()
    assert error.startswith("Failed after 2 rescues: its worker process died each time, at last while it ran nothing ")
    jobs.innocent_complete()
    worker.note()
    assert len(set(worker.runs_of(how))) == 3
    assert jobs.queue.log(jobs.guilty.id).count("Suspect: running alone in its worker process") == 1


@pytest.mark.parametrize("how", ["segfault", "exit", "memory"])
def test_an_isolated_job_hurts_only_itself(
    supervised: Callable[[str], Supervised], scene: Callable[..., Scene], how: str
) -> None:
    jobs, worker = scene(how), supervised("isolated")
    reasons = IN_CHILD | {"memory": "The handler's process exceeded its memory limit of 200 MB"}
    assert jobs.guilty_fails().startswith(reasons[how])
    jobs.innocent_complete()
    worker.note()
    assert len(worker.runs_of(how)) == 1 and "restarting" not in worker.text()
    assert all(job.refresh().rescues == 0 for job in jobs.innocent)


@pytest.mark.parametrize("how", ["c loop", "swallows"])
def test_an_isolated_job_that_hangs_ends_with_its_ttl(
    supervised: Callable[[str], Supervised], scene: Callable[..., Scene], how: str
) -> None:
    worker = supervised("isolated")
    jobs = scene(how, ttl=1000)
    assert jobs.guilty_fails() == "TTL exceeded"
    jobs.innocent_complete()
    worker.note()
    [pid] = worker.runs_of(how)
    wait_until(lambda: not is_alive(pid), 15)


@pytest.mark.parametrize("kind", ["importable", "async"])
def test_a_handler_that_swallows_its_end_loses_its_job_and_its_slot(
    supervised: Callable[[str], Supervised], scene: Callable[..., Scene], kind: str
) -> None:
    worker = supervised(kind)
    jobs = scene("swallows", ttl=1000)
    assert jobs.guilty_fails() == "TTL exceeded"
    jobs.innocent_complete()
    # It still runs, in a process that works on; that ends with its supervisor all the same.
    [pid] = set(worker.runs_of("swallows"))
    again = jobs.queue.create_many([{"type": "work", "data": {}}] * INNOCENT)
    assert [job.wait(LIMIT_S) for job in again] == ["done"] * INNOCENT
    assert pid in worker.runs_of("None")[-INNOCENT:] and is_alive(pid)


@pytest.mark.parametrize("what", ["child", "worker", "supervisor"])
def test_killed_processes_cost_innocent_jobs_nothing(
    supervised: Callable[[str], Supervised], scene: Callable[..., Scene], what: str
) -> None:
    # Given workers whose children run jobs, one of which hangs
    worker = supervised("isolated")
    jobs = scene("swallows", attempts=2)
    [pid] = wait_until(lambda: worker.runs_of("swallows"), LIMIT_S)
    workers = wait_until(lambda: len(worker.note()) == 2 and worker.note(), LIMIT_S)
    parent = next(each for each in workers if pid in children_of(each))
    # When one of the processes is killed
    os.kill({"child": pid, "worker": parent, "supervisor": worker.process.pid}[what], signal.SIGKILL)
    # Then what hangs runs again, and all others complete
    wait_until(lambda: not is_alive(pid), 15)
    if what == "supervisor":
        wait_until(lambda: not any(is_alive(each) for each in worker.pids), 20)
        jobs.queue.process("work", 4, lambda job: "done")
        assert jobs.guilty.wait(LIMIT_S) == "done"
    else:
        wait_until(lambda: len(worker.runs_of("swallows")) == 2, LIMIT_S)
        assert jobs.guilty.refresh().attempts_made == (1 if what == "child" else 0)
        jobs.guilty.cancel()
    jobs.innocent_complete()
    jobs.queue.shutdown(2)


def test_workers_that_are_killed_again_and_again_make_no_innocent_job_fail(
    supervised: Callable[[str], Supervised], scene: Callable[..., Scene]
) -> None:
    worker = supervised("importable")
    jobs = scene("swallows", attempts=1)
    for count in range(1, 5):
        wait_until(lambda count=count: len(worker.runs_of("swallows")) == count, LIMIT_S)
        pid = worker.runs_of("swallows")[-1]
        workers = worker.note()
        os.kill(next(each for each in workers if pid == each or pid in children_of(each)), signal.SIGKILL)
        wait_until(lambda count=count: jobs.guilty.refresh().rescues == count, LIMIT_S, 0.05)
    wait_until(lambda: len(worker.runs_of("swallows")) == 5, LIMIT_S)
    assert (jobs.guilty.refresh().state, jobs.guilty.attempts_made) == ("active", 0)
    jobs.guilty.cancel()
    jobs.innocent_complete()
