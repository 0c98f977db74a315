"""Restart this process with eventlet, patched before anything else is imported."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import click

from ..concurrency import green
from ..config.parsers import yes_or_no

#: Patches first, as app.py does; then the same command line. -P keeps local files from shadowing modules.
_PROGRAM = """
import gc, os, sys, warnings
gc.disable()
sys.path.append({root!r})
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
warnings.filterwarnings("ignore", message=r"\\s*Eventlet is deprecated")
import eventlet
eventlet.monkey_patch()
from kue.concurrency.real_threads import look_names_up_aside
look_names_up_aside()
from kue.cli import main
main()
"""
_PLAIN_PROGRAM = """
import gc, sys
gc.disable()
sys.path.append({root!r})
from kue.cli import main
main()
"""


def need(*modules: str, extra: str, what: str) -> None:
    """Raise a clear error if a package is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        how = f"pip install 'kue[{extra}]'"
        raise click.ClickException(f"{what} needs {', '.join(missing)}: {how}")


def wants_green() -> bool:
    """Tell whether a web process should use eventlet: KUE_GREEN says so, or is not set and eventlet is installed."""
    chosen = os.environ.get("KUE_GREEN", "").strip()
    if not chosen:
        return importlib.util.find_spec("eventlet") is not None
    try:
        return yes_or_no(chosen)
    except ValueError as exc:
        raise click.UsageError(f"KUE_GREEN={chosen}: {exc}") from None


def start_web(*modules: str, what: str) -> None:
    """Return in a process of the chosen kind of threads that can run the web part, or raise a clear error."""
    is_green = wants_green()
    needed = ("flask", "flask_socketio", "eventlet" if is_green else "uvicorn", "prometheus_client", *modules)
    need(*needed, extra="web", what=what)
    if is_green:
        ensure_patched()


def ensure_patched() -> None:
    """Return in a patched process. Otherwise replace this process by a patched one with the same command line."""
    if green.enabled():
        return
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(sys.executable, command(*sys.argv[1:], program=_PROGRAM))


def command(*words: str, program: str = _PLAIN_PROGRAM) -> list[str]:
    """Return the command line of a new process that runs this ``kue`` with other arguments."""
    return [sys.executable, "-P", "-c", program.format(root=str(Path(__file__).resolve().parents[2])), *words]
