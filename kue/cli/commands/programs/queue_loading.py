"""Import the queue that the command line names, as in ``kue worker app:queue``."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import click

from ....aio.queue import Queue as AsyncQueue
from ....queue import Queue

QUEUES = (Queue, AsyncQueue)


def load(target: str) -> Queue:
    """Import the queue named ``module:name``; ``name`` may be a function that returns it, or a dotted path.

    Of an asyncio queue it is the one that runs its handlers.
    """
    module_name, colon, name = target.partition(":")
    if not (module_name and colon and name):
        raise click.UsageError(f'"{target}" is not of the form MODULE:QUEUE, such as jobs:queue')
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value: Any = importlib.import_module(module_name)
        module = value
        for part in name.split("."):
            value = getattr(value, part)
        if callable(value) and not isinstance(value, QUEUES):
            value = value()
    except ModuleNotFoundError as exc:
        if exc.name is not None and (module_name == exc.name or module_name.startswith(f"{exc.name}.")):
            raise click.ClickException(
                f"no module named {module_name} in {os.getcwd()} or among the installed packages"
            ) from None
        raise click.ClickException(_told(target, exc)) from exc
    except Exception as exc:
        if isinstance(exc, AttributeError) and "module" in locals() and not _raised_inside(exc):
            queues = [each for each, found in vars(module).items() if isinstance(found, QUEUES)]
            hint = f"; queues in it: {', '.join(queues)}" if queues else "; it defines no queue"
            raise click.ClickException(f'module {module_name} has no "{name}"{hint}') from None
        raise click.ClickException(_told(target, exc)) from exc
    if isinstance(value, AsyncQueue):
        return value.sync
    if not isinstance(value, Queue):
        raise click.ClickException(f"{target} is not a kue Queue, but of type {type(value).__name__}")
    return value


def _raised_inside(exc: BaseException) -> bool:
    """Return whether an error was raised by the user's code rather than by the lookup here."""
    return traceback.extract_tb(exc.__traceback__)[-1].filename != __file__


def _told(target: str, exc: BaseException) -> str:
    """Return one line about an error in the user's module, with its place."""
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename != __file__]
    frames = [frame for frame in frames if "importlib" not in frame.filename] or frames
    where = f", {frames[-1].filename} line {frames[-1].lineno}" if frames else ""
    if isinstance(exc, SyntaxError):
        where = f", {exc.filename} line {exc.lineno}"
    return f"cannot load {target}: {type(exc).__name__}: {exc}{where}"
