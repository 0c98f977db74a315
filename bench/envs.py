"""The peers' own environments: a virtual environment each under bench/.envs, node's modules under bench/node."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.steps import StepFailed

HERE = Path(__file__).resolve().parent
ENVS = HERE / ".envs"
NODE = HERE / "node"
INSTALL_S = 600


def python_of(name: str) -> str:
    """Return the Python of a peer's environment; made and filled from peers/NAME.txt when it is not up to date."""
    folder, wanted = ENVS / name, HERE / "peers" / f"{name}.txt"
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        print(f"bench: installing {name} …", file=sys.stderr, flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
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
        _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(NODE)])
    return program


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_S, capture_output=True, text=True)
    except subprocess.CalledProcessError as exc:
        lines = (exc.stderr or exc.stdout or "").strip().splitlines() or ["no message"]
        raise StepFailed(f"not installed: {lines[-1][:200]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise StepFailed(f"not installed within {INSTALL_S} s") from exc
