"""The wheel, built once, and installed once into an empty virtual environment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT, missing


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder of this test run, held by one of its processes at a time: what one has built there the others find."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "packaging"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def by_one(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def wheel(shared: Path) -> Path:
    """The wheel of a copy of the project, built as ``pip install .`` builds it."""
    with by_one(shared):
        if not list(shared.glob("wheel/*.whl")):
            build(shared)
    (wheel,) = shared.glob("wheel/*.whl")
    return wheel


def build(shared: Path) -> None:
    source = shared / "source" / "kue"
    ignored = shutil.ignore_patterns(".git", ".venv*", "node_modules", ".kue", ".*_cache", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored, dirs_exist_ok=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(shared / "wheel"), str(source)], capture_output=True, text=True, timeout=300
    )
    if built.returncode != 0 and "hatchling" in built.stderr and "No matching distribution" in built.stderr:
        missing("hatchling cannot be fetched, so no wheel can be built")
    assert built.returncode == 0, built.stderr


@pytest.fixture(scope="session")
def empty_environment(wheel: Path, shared: Path) -> Path:
    """A virtual environment that sees nothing of this one, in which pip has installed the wheel alone."""
    folder = shared / "venv"
    with by_one(shared):
        if not (folder / "bin" / "kue").exists():
            install(wheel, folder)
    return folder


def install(wheel: Path, folder: Path) -> None:
    venv.create(folder, symlinks=True, system_site_packages=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    installed = subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", f"{wheel}[all]"], cwd=folder, env=clean(), capture_output=True,
        text=True, timeout=300,
    )  # fmt: skip
    if installed.returncode != 0 and "No matching distribution" in installed.stderr:
        missing("what the wheel needs cannot be fetched")
    assert installed.returncode == 0, installed.stderr


def clean(**more: str) -> dict[str, str]:
    """Return an environment in which neither this checkout nor another virtual environment is to be seen."""
    names = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "REDIS_URL", "PORT", "HOST", "DOWNLOAD_DIR")
    return {
        **{name: value for name, value in os.environ.items() if name not in names and not name.startswith("KUE_")},
        **more,
    }
