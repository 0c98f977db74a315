"""In which order the tests run, and which of them alone.

pytest-randomly has shuffled them. Tests marked ``slow`` or ``long`` come first, spread over the processes of
pytest-xdist, so that the last of them does not keep everybody waiting. Those marked ``serial`` come last, one after
another, in the process that is the last to have nothing else to do: each waits until the other processes have run all
that is not serial, and nothing begins while it runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import WorkStealingScheduling
from xdist.scheduler.worksteal import MIN_PENDING

#: The file by whose lock the processes of one run take turns, as its first process knows it.
LOCK = pytest.StashKey[Path]()
#: How many tests of this run are not serial.
OTHERS = pytest.StashKey[int]()
#: Nobody runs a test that is not serial if none has been seen for so long.
IDLE_S = 1.0


def arranged(items: list[pytest.Item], processes: int) -> list[pytest.Item]:
    """Return the tests, slow ones at the head of each of the equal parts that the processes begin with."""
    serial, slow, others = [], [], []
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        (serial if "serial" in marks else slow if marks & {"slow", "long"} else others).append(item)
    result: list[pytest.Item] = []
    for process in range(processes):
        heads = slow[process::processes]
        left = len(items) - len(serial) - len(result)
        size = max(0, left // (processes - process) - len(heads))
        result += heads + others[:size]
        del others[:size]
    return result + others + serial


@contextlib.contextmanager
def beside_others(path: Path) -> Iterator[None]:
    """Hold the run's lock together with others; leave one byte in its file at the end, so that all can count."""
    with path.open("ab", buffering=0) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield
        finally:
            lock.write(b".")
            # Not left to the file's end: a child that the test has forked may still have it open.
            fcntl.flock(lock, fcntl.LOCK_UN)


@contextlib.contextmanager
def alone(path: Path, others: int) -> Iterator[None]:
    """Hold the run's lock alone, once all the ``others`` have ended, or nobody has run one for a while.

    The second is so when the rest waits behind serial tests, or when the run is being given up.
    """
    with path.open("ab") as lock:
        began, size = time.monotonic(), -1
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                began = time.monotonic()
            else:
                size_before, size = size, path.stat().st_size
                if size != size_before:
                    began = time.monotonic()
                if size >= others or time.monotonic() - began > IDLE_S:
                    break
                fcntl.flock(lock, fcntl.LOCK_UN)
            time.sleep(0.02)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)


class SerialLast(WorkStealingScheduling):
    """Holds serial tests back until nothing else is left to begin, so that no process waits for its turn with them."""

    #: The indices of the serial tests, which are the last of all; None before the tests are known.
    held_back: list[int] | None = None

    @property
    def tests_finished(self) -> bool:
        return not self.held_back and super().tests_finished

    @property
    def has_pending(self) -> bool:
        return bool(self.held_back) or super().has_pending

    def check_schedule(self) -> None:
        if self.held_back is None and self.collection is not None:
            first = len(self.collection) - int(serial_count(self.config.stash[LOCK]).read_text())
            self.held_back, self.pending[first:] = self.pending[first:], []
        if self.held_back and self._nothing_else_to_begin():
            last = next((node for node in self.nodes if not node.shutting_down), None)
            if last is not None:
                self.pending, self.held_back = self.held_back, []
                self._send_tests(last, len(self.pending))
        super().check_schedule()

    def _nothing_else_to_begin(self) -> bool:
        waiting = self.pending or self.steal_requested_from_node is not None
        return not waiting and all(len(pending) < MIN_PENDING for pending in self.node2pending.values())


def serial_count(lock: Path) -> Path:
    """Return the file in which the processes that have the tests say how many of them are serial."""
    return lock.with_suffix(".serial")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> WorkStealingScheduling | None:
    return SerialLast(config, log) if config.getoption("dist") == "worksteal" else None


def workerinput(config: pytest.Config) -> dict[str, Any]:
    """Return what pytest-xdist has told this process; nothing if it runs the tests by itself."""
    told: dict[str, Any] = getattr(config, "workerinput", {})
    return told


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Let each process read the folders from another place on, so that one finds compiled what another has compiled."""
    report: Any = yield
    told, found = workerinput(collector.config), report.result
    if told and found and isinstance(collector, pytest.Directory):
        first = len(found) * int(told["workerid"].removeprefix("gw")) // told["workercount"]
        report.result = found[first:] + found[:first]
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    items.sort(key=lambda item: item.path)  # the same order in all processes, for pytest-randomly to shuffle
    yield
    items[:] = arranged(items, workerinput(config).get("workercount", 1))
    config.stash[OTHERS] = sum(item.get_closest_marker("serial") is None for item in items)
    if lock := workerinput(config).get("lock"):
        serial_count(Path(lock)).write_text(str(len(items) - config.stash[OTHERS]))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    stash = node.config.stash
    if LOCK not in stash:
        with tempfile.NamedTemporaryFile(prefix="kue-tests-", suffix=".lock", delete=False) as file:
            stash[LOCK] = Path(file.name)
    node.workerinput["lock"] = str(stash[LOCK])


def pytest_unconfigure(config: pytest.Config) -> None:
    if LOCK in config.stash:
        config.stash[LOCK].unlink(missing_ok=True)
        serial_count(config.stash[LOCK]).unlink(missing_ok=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    path = workerinput(item.config).get("lock")
    if path is None:
        return (yield)
    serial = item.get_closest_marker("serial") is not None
    with alone(Path(path), item.config.stash[OTHERS]) if serial else beside_others(Path(path)):
        return (yield)
