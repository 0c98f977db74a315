"""The peers' own environments: a virtual environment each under bench/.envs, node's modules under bench/node."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from bench.harness.steps import StepFailed

HERE = Path(__file__).resolve().parent.parent
ENVS = HERE / ".envs"
NODE = HERE / "node"
INSTALL_S = 600
NEWEST = 14


def python_of(name: str, least: tuple[int, int]) -> str:
    """Return the Python of a peer's environment, filled from peers/requirements/NAME.txt when it is not up to date.

    Raises StepFailed if it cannot be installed here.
    """
    folder, wanted = ENVS / name, HERE / "peers" / "requirements" / f"{name}.txt"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        print(f"bench: installing {name} …", file=sys.stderr, flush=True)
        _run([_interpreter(least), "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "-r", str(wanted)])
        stamp.write_text(wanted.read_text())
    return str(python)


def node() -> str:
    """Return node, its modules installed. Raises StepFailed where there is none."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        raise StepFailed("node or npm is not installed")
    lock, done = NODE / "package-lock.json", NODE / "node_modules" / ".package-lock.json"
    if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
        print("bench: installing node's peers …", file=sys.stderr, flush=True)
        _run(["npm", "ci", "--loglevel=error", "--prefix", str(NODE)])
    return program


def versions() -> list[str]:
    """Return what is pinned of Python's peers, as ``name version``."""
    first = [path.read_text().split()[0] for path in sorted((HERE / "peers" / "requirements").glob("*.txt"))]
    return [re.sub(r"(\[.*?\])?==", " ", line) for line in first]


def node_versions() -> list[tuple[str, str]]:
    """Return what is pinned of Node's peers."""
    wanted: dict[str, str] = json.loads((NODE / "package.json").read_text())["dependencies"]
    return list(wanted.items())


def _interpreter(least: tuple[int, int]) -> str:
    """Return a Python that is new enough: the one that runs this, else one on the PATH that really starts."""
    if sys.version_info[:2] >= least:
        return sys.executable
    for minor in range(NEWEST, least[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found and subprocess.run([found, "-c", ""], capture_output=True, timeout=20).returncode == 0:
            return found
    raise StepFailed(f"it needs Python {least[0]}.{least[1]}, and there is none on the PATH")


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_S, capture_output=True, text=True)
    except subprocess.CalledProcessError as exc:
        lines = (exc.stderr or exc.stdout or "").strip().splitlines() or ["no message"]
        raise StepFailed(f"not installed: {lines[-1][:200]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise StepFailed(f"not installed within {INSTALL_S} s") from exc
