"""Threads that a process cannot do without."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from kue.concurrency import essential


def test_an_essential_thread_that_ends_by_an_error_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, BaseException]] = []
    monkeypatch.setattr(essential, "on_exit", lambda name, exc: told.append((name, exc)))
    error = MemoryError("no more")

    def fail() -> None:
        raise error

    with caplog.at_level(logging.CRITICAL):
        essential.run_essential("pump", fail)
    assert told == [("pump", error)]
    assert "pump" in caplog.text and "Traceback" in caplog.text


def test_one_that_ends_as_it_was_told_to_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(essential, "on_exit", lambda name, exc: told.append(name))
    seen: list[int] = []
    essential.run_essential("pump", seen.append, 1)
    assert seen == [1] and told == []


def test_a_loop_continues_after_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(essential, "PAUSE_FIRST_S", 0.0)
    steps = iter([True, ValueError("odd"), True, KeyError("b"), False])
    taken: list[object] = []

    def step() -> bool:
        taken.append(found := next(steps))
        if isinstance(found, Exception):
            raise found
        return bool(found)

    essential.repeat("pump", step)
    assert len(taken) == 5
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 2


def test_a_program_ends_with_its_essential_thread() -> None:
    program = """
import threading, time
from kue.concurrency import essential
essential.on_exit = essential.exit_process
def fail():
    raise RuntimeError("gone")
threading.Thread(target=essential.run_essential, args=("listener", fail), daemon=True).start()
time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == essential.EXIT_CODE
    assert "Thread listener died of an error" in done.stderr and "RuntimeError: gone" in done.stderr
