"""The tests of the queue and its components again, with green threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.programs import environment

#: The parts of the library in which threads work together. Not what has none: the scripts, values, and random runs.
WITH_THREADS = (
    "client", "management", "queue", "search/test_index.py", "worker",
    "connection/test_redis_forms.py", "storage/test_broken_keys.py",
)  # fmt: skip
WITHOUT = ("test_stateful.py", "test_wrong_arguments.py")
TIMEOUT_S = 600


def run_green(*words: str, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "support" / "green_runner.py"), "-q", *words],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )


@pytest.mark.long
def test_the_runner_really_patches(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from kue.concurrency import green\nimport eventlet.patcher, time\n"
        "def test_it(redis_client):\n"
        "    assert green.enabled() and eventlet.patcher.is_monkey_patched('time')\n"
        "    assert redis_client.ping()\n"
    )
    result = run_green("-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", str(tmp_path), timeout_s=60)
    assert result.returncode == 0, result.stdout


@pytest.mark.long
def test_the_queue_and_its_parts_pass_with_green_threads(pytestconfig: pytest.Config) -> None:
    tests = [str(ROOT / "tests" / name) for name in WITH_THREADS]
    seed = pytestconfig.getoption("randomly_seed")
    ignored = [f"--ignore-glob=*/{name}" for name in WITHOUT]
    result = run_green(*tests, *ignored, "-m", "not slow and not long and not serial", f"--randomly-seed={seed}")
    assert result.returncode == 0, result.stdout[-20_000:]


@pytest.mark.long
@pytest.mark.serial
def test_an_idle_worker_begins_at_once_with_green_threads_too() -> None:
    result = run_green(str(ROOT / "tests" / "worker" / "test_idle_wait.py"), "-m", "serial")
    assert result.returncode == 0, result.stdout[-20_000:]
