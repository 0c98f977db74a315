"""``kue worker``: run the handlers of a module's queue, until a signal comes."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import click

from ..concurrency import essential, green
from ..process import descriptors, supervisor
from ..process.stop_signals import GRACE_S, StopSignals, wait_for_redis
from ..process.title import set_title
from ..queue import Queue
from .green_start import command, ensure_patched, need
from .options import DURATION, Place, with_place
from .output import plain

log = logging.getLogger("kue")

#: Seconds between two looks whether a signal came.
LOOK_S = 0.1
LOG_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class TypeCount(click.ParamType):  # type: ignore[type-arg]
    """``type=n``, as a pair."""

    name = "type=n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        job_type, mark, count = str(value).rpartition("=")
        if not mark or not count.isascii() or not count.isdigit() or int(count) == 0:
            self.fail(f'"{value}" is not of the form type=n, such as email=20', param, ctx)
        return job_type, int(count)


@click.command(short_help="Work on jobs with a module's handlers.")
@click.argument("target", metavar="MODULE:QUEUE")
@click.option(
    "-c",
    "--concurrency",
    multiple=True,
    type=TypeCount(),
    metavar="TYPE=N",
    help="Jobs of a type that run at once; may be repeated.",
)
@click.option(
    "--timeout",
    default=f"{GRACE_S:g}s",
    show_default=True,
    type=DURATION,
    metavar="TIME",
    help="What running jobs get to end.",
)
@click.option(
    "-p",
    "--processes",
    "count",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Processes to run; one that dies is started again.",
)
@click.option("--green", "is_green", is_flag=True, help="Use eventlet's green threads in place of plain ones.")
@with_place
def worker(
    place: Place, target: str, concurrency: Sequence[tuple[str, int]], timeout: int, count: int, is_green: bool
) -> int:
    """Work on jobs with the handlers that MODULE registers. QUEUE is a kue Queue in it, or a function that returns one.

    \b
    # jobs.py
    queue = kue.create_queue()

    \b
    @queue.process("email")
    def send(job): ...

    \b
    kue worker jobs:queue -c email=20

    The module is looked for in the working directory first. It decides about its Redis; -r and -q set REDIS_URL and
    KUE_PREFIX for it to read.

    SIGTERM, Ctrl-C or a closed terminal: take no new job, give running ones --timeout to end, release what still runs
    (it runs again elsewhere, the attempt not counted). Twice: release them at once. The exit code is then 0. Whatever a
    handler does, the process has ended a few seconds after --timeout: with the default, within 10 s.

    With -p each process has the concurrency of -c for itself. Signals go to the parent, which passes them on.
    """
    for name, value in (("REDIS_URL", place.url), ("KUE_PREFIX", place.prefix)):
        if value is not None:
            os.environ[name] = value
    if is_green:
        need("eventlet", extra="web", what="--green")
    if count > 1:
        return _run_processes(count, target, concurrency, timeout, is_green)
    if is_green:
        ensure_patched()
    return run_worker(target, dict(concurrency), timeout / 1000)


def _run_processes(
    count: int, target: str, concurrency: Sequence[tuple[str, int]], timeout_ms: int, is_green: bool
) -> int:
    """Run this command in ``count`` processes of its own; return the exit code."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, datefmt="%H:%M:%S")
    words = ["worker", target, "--timeout", f"{timeout_ms}ms"]
    for job_type, slots in concurrency:
        words += ["-c", f"{job_type}={slots}"]
    program = command(*words, *(["--green"] if is_green else []))
    return supervisor.Supervisor(program, count, timeout_ms / 1000).run()


def run_worker(target: str, concurrency: Mapping[str, int], timeout_s: float) -> int:
    """Run one worker process until a signal comes; return its exit code."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, datefmt="%H:%M:%S")
    supervisor.end_with_parent()
    essential.on_exit = essential.exit_process
    descriptors.raise_limit()
    signals = StopSignals(timeout_s)
    try:
        queue = load(target)
    except BaseException:
        signals.close()
        raise
    signals.release = queue._release_all
    try:
        if wait_for_redis(queue, signals):
            _prepare(queue, target, concurrency)
        while not signals.count:
            _show_load(queue, target)
            green.sleep(LOOK_S)
        log.info("stopping: running jobs have %g s; once more to stop now", timeout_s)
        queue.quiet()
        give_up = time.monotonic() + timeout_s
        while queue.running() and signals.count < 2 and time.monotonic() < give_up:
            green.sleep(LOOK_S)
        left = len(queue.running())
    finally:
        queue.shutdown(0)  # it has taken jobs from its first handler on
        signals.ignore()
    log.info("stopped, and released what still ran: %d", left)
    return 0


def _show_load(queue: Queue, target: str) -> None:
    set_title(f"worker {target} [{len(queue.running())}/{sum(queue.processing().values())} busy]")


def _prepare(queue: Queue, target: str, concurrency: Mapping[str, int]) -> None:
    """Check and set what the command line says, and tell that the worker is ready."""
    types = queue.processing()
    if not types:
        raise click.ClickException(f"{target} has no handlers; its module must call queue.process(…)")
    for job_type, count in concurrency.items():
        if job_type not in types:
            names = ", ".join(plain(name) for name in types)
            raise click.ClickException(f"there is no handler for {plain(job_type)}, only for {names}")
        queue.concurrency(job_type, count)
    slots = ", ".join(f"{plain(name)} ({count})" for name, count in queue.processing().items())
    print(f"ready: works on {slots} of queue {queue.prefix}, pid {os.getpid()}", flush=True)
    supervisor.tell_ready()


def load(target: str) -> Queue:
    """Return the queue that ``module:name`` names; ``name`` may be a function that returns it, or a path ``a.b``."""
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
        if callable(value) and not isinstance(value, Queue):
            value = value()
    except ModuleNotFoundError as exc:
        if exc.name is not None and (module_name == exc.name or module_name.startswith(f"{exc.name}.")):
            raise click.ClickException(f"there is no module {module_name} in {os.getcwd()} or installed") from None
        raise click.ClickException(_told(target, exc)) from exc
    except Exception as exc:
        if isinstance(exc, AttributeError) and "module" in locals() and not _raised_inside(exc):
            queues = [each for each, found in vars(module).items() if isinstance(found, Queue)]
            hint = f"; it has {', '.join(queues)}" if queues else ""
            raise click.ClickException(f"module {module_name} has no {name}{hint}") from None
        raise click.ClickException(_told(target, exc)) from exc
    if not isinstance(value, Queue):
        raise click.ClickException(f"{target} is not a Queue of kue, but {type(value).__name__}")
    return value


def _raised_inside(exc: BaseException) -> bool:
    """Tell whether an error comes from the user's code, rather than from looking up a name here."""
    return traceback.extract_tb(exc.__traceback__)[-1].filename != __file__


def _told(target: str, exc: BaseException) -> str:
    """Say in one line what went wrong in the user's module, and where."""
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if frame.filename != __file__]
    frames = [frame for frame in frames if "importlib" not in frame.filename] or frames
    where = f", {frames[-1].filename} line {frames[-1].lineno}" if frames else ""
    if isinstance(exc, SyntaxError):
        where = f", {exc.filename} line {exc.lineno}"
    return f"cannot load {target}: {type(exc).__name__}: {exc}{where}"
