"""mypy and pyright see a task's parameters and the type of its result, and those of the asyncio queue."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import NODE_DIR, ROOT, require_node

USES = ROOT / "tests" / "tasks" / "typed_uses.py"
ASYNCIO_USES = ROOT / "tests" / "aio" / "asyncio_uses.py"


def mypy(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Check files as a user's: the library is found as an installed package is, and not checked itself."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", *map(str, paths)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=paths[0].parent, env=environ, capture_output=True, text=True, timeout=300)


def pyright(folder: Path, *paths: Path) -> subprocess.CompletedProcess[str]:
    node = require_node("pyright")
    config = {"include": [str(path) for path in paths], "extraPaths": [str(ROOT)], "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    script = NODE_DIR / "node_modules" / "pyright" / "index.js"
    command = [node, str(script), "--pythonpath", sys.executable, "--project", str(folder / "pyrightconfig.json")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.mark.long
def test_mypy_accepts_the_right_uses_and_refuses_the_wrong_ones() -> None:
    said = mypy(USES, ASYNCIO_USES)
    assert said.stdout.startswith("Success"), said.stdout + said.stderr


@pytest.mark.long
def test_pyright_accepts_the_right_uses_and_refuses_the_wrong_ones(tmp_path: Path) -> None:
    said = pyright(tmp_path, USES, ASYNCIO_USES)
    assert said.returncode == 0 and "0 errors" in said.stdout, said.stdout + said.stderr


@pytest.mark.long
def test_a_use_that_is_not_as_marked_is_reported_by_both(tmp_path: Path) -> None:
    # Given a right use marked as wrong
    wrong = tmp_path / "wrong.py"
    wrong.write_text(f'{USES.read_text()}\n\nresize.create("u")  # type: ignore\n')
    line = len(wrong.read_text().splitlines())
    # Then both say so, and no more than that
    for said in (mypy(wrong), pyright(tmp_path, wrong)):
        assert f"wrong.py:{line}" in said.stdout, said.stdout + said.stderr
        assert re.search(r"\b1 error\b", said.stdout), said.stdout
