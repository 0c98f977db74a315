"""The order of the tests: shuffled by a seed that can be given again, slow ones first, serial ones last and alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import ROOT

#: Each test says when it began and ended.
TESTS = """
import os, time
from pathlib import Path
import pytest

def note(name):
    began = time.monotonic()
    time.sleep(0.05)
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{name} {began} {time.monotonic()} {os.getpid()}\\n")

@pytest.mark.parametrize("number", range(30))
def test_beside(number):
    note("beside")

@pytest.mark.serial
@pytest.mark.parametrize("number", range(4))
def test_alone(number):
    note("alone")

@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_slow(number):
    note("slow")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conftest.py").write_text(
        "from tests.support.order import pytest_collection_modifyitems, pytest_configure_node\n"
        "from tests.support.order import pytest_runtest_protocol, pytest_unconfigure, pytest_xdist_make_scheduler\n"
    )
    (tmp_path / "test_it.py").write_text(TESTS)
    return tmp_path


class Ran(NamedTuple):
    name: str
    began: float
    ended: float
    process: int


def run(folder: Path, *words: str) -> tuple[str, list[Ran]]:
    """Return what pytest said, and each test in the order of their beginnings."""
    notes = folder / "notes"
    notes.write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", *words,
         str(folder)],
        cwd=folder, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]), "NOTES": str(notes)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    lines = [line.split() for line in notes.read_text().splitlines()]
    told = [Ran(name, float(began), float(ended), int(process)) for name, began, ended, process in lines]
    return done.stdout, sorted(told, key=lambda each: each.began)


@pytest.mark.long
def test_serial_tests_run_last_and_nothing_beside_them(folder: Path) -> None:
    _, told = run(folder, "-n", "3", "--dist", "worksteal")
    assert len(told) == 36
    assert [each.name for each in told[-4:]] == ["alone"] * 4
    assert len({each.process for each in told[-4:]}) == 1  # none waits for its turn while another has work
    assert all(before.ended <= after.began for before, after in zip(told[-5:-1], told[-4:], strict=True))
    # The others did run beside each other, so it is the lock that kept these apart.
    assert any(before.ended > after.began for before, after in zip(told[:-5], told[1:-4], strict=True))


@pytest.mark.long
def test_serial_tests_alone_run_in_several_processes_too(folder: Path) -> None:
    _, told = run(folder, "-n", "2", "--dist", "worksteal", "-m", "serial")
    assert [each.name for each in told] == ["alone"] * 4


@pytest.mark.long
def test_slow_tests_begin_first_in_every_process(folder: Path) -> None:
    _, told = run(folder, "-n", "2", "--dist", "worksteal")
    first = {each.process: each.name for each in reversed(told)}
    assert list(first.values()) == ["slow", "slow"]


@pytest.mark.long
def test_the_order_is_another_one_each_time_and_its_seed_can_be_given_again(folder: Path) -> None:
    def order(*words: str) -> tuple[str, list[str]]:
        said, _ = run(folder, *words)
        seed = re.search(r"--randomly-seed=(\d+)", said)
        assert seed, "the seed is not said"
        return seed[1], re.findall(r"test_beside\[\d+\]", said)

    seed, first = order()
    assert order(f"--randomly-seed={seed}") == (seed, first)
    _, second = order()
    assert first != second and sorted(first) == sorted(second)
