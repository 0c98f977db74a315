"""The integration tests once more, with green threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.platform.programs import environment
from tests.support import ROOT

INTEGRATION = ROOT / "tests" / "integration"
TIMEOUT_S = 600
#: What has no threads is the same in green.
#: Those that a process with green threads cannot pass: eventlet warns of each fork.
WITHOUT_THREADS = ("test_scripts_*.py", "test_stateful.py", "test_doctor_random.py", "test_fork.py")


def run_green(*words: str, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "green_runner.py"), "-q", *words],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )


def test_the_runner_really_patches(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "from kue.concurrency import green\nimport eventlet.patcher, time\n"
        "def test_it(redis_client):\n"
        "    assert green.enabled() and eventlet.patcher.is_monkey_patched('time')\n"
        "    assert redis_client.ping()\n"
    )
    result = run_green("-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", str(tmp_path), timeout_s=60)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_the_integration_tests_pass_with_green_threads() -> None:
    alike = [f"--ignore-glob=*/{pattern}" for pattern in WITHOUT_THREADS]
    result = run_green(str(INTEGRATION), *alike)
    assert result.returncode == 0, result.stdout[-20_000:]
