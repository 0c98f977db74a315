"""Which processes count as dead."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from kue.worker import registry
from kue.worker.registry import worker_name

pytestmark = pytest.mark.skipif(not registry.machine(), reason="this system does not tell which processes it has")


def entry(pid: int, **changed: Any) -> dict[str, Any]:
    return {"pid": pid, "born": registry.born(pid), "machine": registry.machine(), **changed}


def test_a_process_that_runs_is_not_dead() -> None:
    assert not registry.is_dead(entry(os.getpid()))


def test_a_process_that_ended_is_dead_also_before_its_parent_has_asked() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = entry(process.pid)
    process.communicate(b"\n")
    assert registry.is_dead(known)

    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = entry(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert registry.is_dead(known)
    process.communicate()


def test_another_process_with_the_same_number_does_not_stand_for_it() -> None:
    assert registry.is_dead(entry(os.getpid(), born="1"))


@pytest.mark.parametrize("changed", [{"machine": "another"}, {"machine": ""}, {"pid": "7"}, {"born": ""}])
def test_what_cannot_be_known_is_not_dead(changed: dict[str, Any]) -> None:
    assert not registry.is_dead({**entry(2**22 + 1, born="1"), **changed})


def test_a_process_that_proc_hides_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    known = entry(os.getpid())
    monkeypatch.setattr(registry, "born", lambda pid: None)
    assert not registry.is_dead(known)
    assert registry.is_dead({**known, "pid": 2**22 + 1})  # above the largest there is




def test_workers_of_two_containers_have_two_names() -> None:
    assert worker_name("h", 4711, "ab12") == "kue:h:4711"
    assert worker_name("h", 1, "ab12") == "kue:h:1.ab12" != worker_name("h", 1, "cd34")
