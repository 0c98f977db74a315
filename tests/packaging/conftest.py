"""The source distribution and the wheel, built once, and installed once into an empty virtual environment."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
def sdist(shared: Path) -> Path:
    """The source distribution of a copy of the project."""
    with by_one(shared):
        if not list(shared.glob("dist/*.whl")):
            build(shared)
    (sdist,) = shared.glob("dist/*.tar.gz")
    return sdist


@pytest.fixture(scope="session")
def wheel(sdist: Path) -> Path:
    """The wheel that is built of what is in the source distribution, as ``pip install`` of it does."""
    (wheel,) = sdist.parent.glob("*.whl")
    return wheel


def build(shared: Path) -> None:
    source, backend, dist = shared / "source" / "kue", shared / "backend", shared / "dist"
    ignored = shutil.ignore_patterns(".git", ".venv*", "node_modules", ".kue", ".*_cache", "__pycache__", "build")
    shutil.copytree(ROOT, source, ignore=ignored, dirs_exist_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(backend)]
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    fetched = subprocess.run([*pip, *requires], capture_output=True, text=True, timeout=300)
    if fetched.returncode != 0 and "No matching distribution" in fetched.stderr:
        missing("hatchling cannot be fetched, so nothing can be built")
    assert fetched.returncode == 0, fetched.stderr
    call_backend("build_sdist", source, backend, dist)
    (sdist,) = dist.glob("*.tar.gz")
    careful: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # from 3.11.4 on
    with tarfile.open(sdist) as archive:
        archive.extractall(shared / "unpacked", **careful)
    (unpacked,) = (shared / "unpacked").iterdir()
    call_backend("build_wheel", unpacked, backend, dist)


def call_backend(hook: str, source: Path, backend: Path, dist: Path) -> None:
    program = f"import sys, hatchling.build; hatchling.build.{hook}(sys.argv[1])"
    built = subprocess.run(
        [sys.executable, "-c", program, str(dist)], cwd=source, env={**clean(), "PYTHONPATH": str(backend)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
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
