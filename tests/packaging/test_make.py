"""The commands of the README, in a folder whose name holds blanks, with programs that only look like the real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT, require_program

#: Stands for Python: answers the version check, makes a "venv" of itself, and writes down how it was called.
PYTHON = """#!/bin/sh
here=$(dirname "$0")
echo "$(basename "$0") $*" >> "$LOG"
case "$1 $2" in
  "--version "*) echo "Python 3.99" ;;
  "-c "*) exit "${TOO_OLD:-0}" ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") exit "${PIP_STATUS:-0}" ;;
  "-m pytest") echo "1 passed"; exit "${PYTEST_STATUS:-0}" ;;
  "-m mypy") echo "types are right"; exit "${MYPY_STATUS:-0}" ;;
esac
"""


class Checkout:
    """A folder with the Makefile and its inputs, and a PATH with nothing but a shell's tools and that Python."""

    def __init__(self, root: Path) -> None:
        self.root = root / "a folder with blanks"
        self.tools = root / "tools"
        self.log = root / "calls.log"
        self.tools.mkdir()
        (self.root / "tests" / "node").mkdir(parents=True)
        for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "requirements-otel.txt"):
            shutil.copy(ROOT / name, self.root / name)
        for name in ("sh", "mkdir", "cp", "rm", "touch", "dirname", "basename", "find", "mktemp", "cat"):
            (self.tools / name).symlink_to(require_program(name))
        self.program("python3", PYTHON)

    def program(self, name: str, text: str) -> Path:
        path = self.tools / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def make(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.tools), "LOG": str(self.log), "HOME": os.environ.get("HOME", "/"), **more}
        self.log.write_text("")
        return subprocess.run(
            [require_program("make"), *words], cwd=self.root, env=environ, capture_output=True, text=True, timeout=60
        )

    def calls(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if " -c " not in line and "--version" not in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_run_makes_the_venv_installs_and_starts(checkout: Checkout) -> None:
    result = checkout.make("run", "ARGS=--port 3001")
    assert result.returncode == 0, result.stderr
    assert checkout.calls() == [
        "python3 -m venv .venv",
        "python -m pip --disable-pip-version-check install --quiet -r requirements.txt",
        "python app.py --port 3001",
    ]


def test_a_second_run_only_starts(checkout: Checkout) -> None:
    checkout.make("run")
    checkout.make("run")
    assert checkout.calls() == ["python app.py"]


def test_changed_requirements_are_installed(checkout: Checkout) -> None:
    checkout.make("run")
    os.utime(checkout.root / ".venv" / ".installed-run", (1, 1))
    checkout.make("run")
    assert len(checkout.calls()) == 2 and "requirements.txt" in checkout.calls()[0]


def test_a_failed_installation_is_tried_again(checkout: Checkout) -> None:
    assert checkout.make("run", PIP_STATUS="1").returncode != 0
    assert "python app.py" not in checkout.calls()
    assert checkout.make("run").returncode == 0
    assert len(checkout.calls()) == 2


def test_the_python_can_be_chosen(checkout: Checkout, tmp_path: Path) -> None:
    own = checkout.program("my python", PYTHON)
    assert checkout.make("run", f"PYTHON={own}").returncode == 0
    assert checkout.calls()[0] == "my python -m venv .venv"


def test_without_a_new_enough_python_one_is_told_what_to_do(checkout: Checkout) -> None:
    result = checkout.make("run", TOO_OLD="1")
    assert result.returncode != 0
    assert "No Python of at least 3.11" in result.stderr and "make run PYTHON=" in result.stderr
    result = checkout.make("run", f"PYTHON={checkout.tools / 'python3'}", TOO_OLD="1")
    assert "is not a Python of at least 3.11" in result.stderr


def test_a_failing_test_run_fails(checkout: Checkout) -> None:
    assert checkout.make("test").returncode == 0
    assert checkout.make("test", PYTEST_STATUS="1").returncode != 0


def test_a_check_fails_with_its_tests_and_with_its_lint(checkout: Checkout) -> None:
    checked = checkout.make("check")
    assert checked.returncode == 0 and checked.stdout.rpartition("1 passed")[2].count("types are right") == 1
    assert checkout.make("check", PYTEST_STATUS="1").returncode != 0
    assert checkout.make("check", MYPY_STATUS="1").returncode != 0


def test_without_npm_the_tests_run_anyway(checkout: Checkout) -> None:
    result = checkout.make("test", "ARGS=tests/worker -x")
    assert result.returncode == 0
    assert "npm is not installed" in result.stdout
    assert checkout.calls()[-1] == "python -m pytest tests/worker -x"


def test_npm_installs_once(checkout: Checkout) -> None:
    checkout.program(
        "npm", '#!/bin/sh\necho npm "$@" >> "$LOG"; mkdir -p node_modules; touch node_modules/.package-lock.json\n'
    )
    (checkout.root / "tests" / "node" / "package-lock.json").write_text("{}")
    os.utime(checkout.root / "tests" / "node" / "package-lock.json", (1, 1))
    checkout.make("test")
    assert any(line.startswith("npm ci") for line in checkout.calls())
    checkout.make("test")
    assert not any(line.startswith("npm") for line in checkout.calls())


def test_an_npm_that_fails_matters_in_ci_only(checkout: Checkout) -> None:
    checkout.program("npm", "#!/bin/sh\nexit 1\n")
    result = checkout.make("test")
    assert result.returncode == 0 and "npm ci failed" in result.stdout
    assert checkout.make("test", CI="true").returncode != 0


def test_clean_keeps_jobs_and_downloads(checkout: Checkout) -> None:
    checkout.make("run")
    for folder in (".kue", "downloads"):
        (checkout.root / folder).mkdir()
        (checkout.root / folder / "kept").write_text("")
    assert checkout.make("clean").returncode == 0
    assert not (checkout.root / ".venv").exists()
    assert (checkout.root / ".kue" / "kept").exists() and (checkout.root / "downloads" / "kept").exists()


def test_make_alone_says_what_there_is(checkout: Checkout) -> None:
    result = checkout.make()
    targets = {"run", "test", "test-long", "check", "lint", "bench", "guard", "docs", "clean"}
    assert {line.split()[1] for line in result.stdout.splitlines()} == targets
