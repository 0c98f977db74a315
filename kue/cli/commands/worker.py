"""``kue worker``: run the handlers of a module's queue until a signal arrives."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import click

from ...aio.queue import Queue as AsyncQueue
from ...alerts import AlertRules
from ...concurrency import essential, green
from ...errors import QueueUnavailable
from ...process import descriptors, supervisor
from ...process.log_output import FORMS, LEVELS, configure_logging, is_json
from ...process.stop_signals import GRACE_S, StopSignals, log_shutdown, wait_for_redis
from ...process.stuck import end_if_stuck
from ...process.title import set_title
from ...queue import Queue
from ...settings import Settings
from ...webhooks.node_events import NodeEvents
from ...worker import selection
from ...worker.gate import gate
from ..green_start import command, ensure_patched, need
from ..options import DURATION, Place, with_place
from ..output import plain

log = logging.getLogger("kue")

QUEUES = (Queue, AsyncQueue)
#: A process in which no thread has run for so long, and for two leases, is stuck, seconds.
STUCK_S = 10.0
#: Poll interval for signals, seconds.
LOOK_S = 0.1
#: Checks in a row that must find nothing to do before --burst exits: a reserved job may be on its way here.
IDLE_CHECKS = 3


@dataclass(frozen=True)
class WorkerOptions:
    """The command line of one worker process."""

    target: str
    concurrency: Mapping[str, int]
    timeout_s: float
    only: frozenset[str] | None = None
    burst: bool = False
    log_level: str = "info"
    verbose: bool = False
    quiet: bool = False
    node_events: bool = False

    def __post_init__(self) -> None:
        if self.quiet:
            object.__setattr__(self, "log_level", "warning")

    def arguments(self) -> list[str]:
        """Return the command line that runs a worker with these options."""
        words = ["worker", self.target, "--timeout", f"{self.timeout_s * 1000:.0f}ms", "--log-level", self.log_level]
        for job_type, slots in self.concurrency.items():
            words += ["-c", f"{job_type}={slots}"]
        if self.only is not None:
            words += ["--only", ",".join(sorted(self.only))]
        flags = {"--verbose": self.verbose, "--quiet": self.quiet, "--node-events": self.node_events}
        return words + [flag for flag, given in flags.items() if given]


class TypeList(click.ParamType):  # type: ignore[type-arg]
    """Job types, separated by commas."""

    name = "types"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        types = frozenset(filter(None, (name.strip() for name in str(value).split(","))))
        if not types:
            self.fail("name at least one job type, such as email,report", param, ctx)
        return types


class TypeCount(click.ParamType):  # type: ignore[type-arg]
    """``type=n``, as a pair."""

    name = "type=n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        job_type, mark, count = str(value).rpartition("=")
        if not mark or not count.isascii() or not count.isdigit() or int(count) == 0:
            self.fail(f'"{value}" is not of the form type=n, such as email=20', param, ctx)
        return job_type, int(count)


@click.command(short_help="Run a module's handlers.")
@click.argument("target", metavar="MODULE:QUEUE")
@click.option(
    "-c",
    "--concurrency",
    multiple=True,
    type=TypeCount(),
    metavar="TYPE=N",
    help="Concurrency of a type; may be repeated.",
)
@click.option(
    "--timeout",
    default=f"{GRACE_S:g}s",
    show_default=True,
    type=DURATION,
    metavar="TIME",
    help="Grace period for running jobs at shutdown.",
)
@click.option(
    "-p",
    "--processes",
    "count",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1000),
    metavar="N",
    help="Worker processes; one that dies is restarted.",
)
@click.option(
    "--only", type=TypeList(), metavar="TYPE,TYPE", help="Run only these types; the module may have handlers of more."
)
@click.option("--burst", is_flag=True, help="Exit when no job is waiting: for cron and tests.")
@click.option(
    "--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="Least severe messages to log."
)
@click.option(
    "--log-format",
    type=click.Choice(FORMS, case_sensitive=False),
    envvar="KUE_LOG_FORMAT",
    help="Log lines: text, or JSON with the job of each  [KUE_LOG_FORMAT]",
)
@click.option("-v", "--verbose", is_flag=True, help="Also log each completed job, with its run time.")
@click.option("--quiet", is_flag=True, help="Log warnings and errors only, and print nothing.")
@click.option("--node-events", is_flag=True, help="Also send webhooks what Node's workers complete and fail.")
@click.option("--green", "is_green", is_flag=True, help="Use eventlet's green threads instead of OS threads.")
@with_place
def worker(
    place: Place,
    target: str,
    concurrency: Sequence[tuple[str, int]],
    timeout: int,
    count: int,
    is_green: bool,
    log_format: str | None,
    **flags: Any,
) -> int:
    """Run the handlers that MODULE registers and the tasks that it declares. QUEUE names a kue Queue in it, or a
    function that returns one.

    \b
    # jobs.py
    queue = kue.create_queue()

    \b
    @queue.task()
    def email(to: str): ...

    \b
    @queue.process("report")
    def report(job): ...

    \b
    kue worker jobs:queue -c email=20

    The working directory is searched first. The module chooses its Redis; -r and -q set REDIS_URL and KUE_PREFIX for
    it to read.

    On SIGTERM, Ctrl-C or a closed terminal the worker takes no new jobs, gives running ones --timeout to finish, and
    releases the rest: they run again elsewhere, and the attempt is not counted. A second signal releases them at once.
    The exit code is then 0. The process ends a few seconds after --timeout even if a handler blocks; with the default,
    within 10 s.

    With -p, -c applies to each process. Send signals to the parent, which forwards them.

    Failed attempts are logged as warnings, jobs that failed for good as errors. -v adds completed jobs.
    """
    for name, value in (("REDIS_URL", place.url), ("KUE_PREFIX", place.prefix), ("KUE_LOG_FORMAT", log_format)):
        if value is not None:
            os.environ[name] = value
    if is_green:
        need("eventlet", extra="web", what="--green")
    options = WorkerOptions(target, dict(concurrency), timeout / 1000, **flags)
    if count > 1:
        if options.burst:
            raise click.UsageError("--burst runs one process; leave out --processes")
        return _run_processes(count, options, is_green)
    if is_green:
        ensure_patched()
    return run_worker(options)


def _run_processes(count: int, options: WorkerOptions, is_green: bool) -> int:
    """Run this command in ``count`` child processes; return the exit code."""
    configure_logging(options.log_level)
    program = command(*options.arguments(), *(["--green"] if is_green else []))
    return supervisor.Supervisor(program, count, options.timeout_s).run()


def run_worker(options: WorkerOptions) -> int:
    """Run one worker process until a signal arrives; return its exit code."""
    configure_logging(options.log_level, completions=options.verbose)
    is_supervised = supervisor.end_with_parent()
    essential.on_exit = essential.exit_process
    descriptors.raise_limit()
    signals = StopSignals(options.timeout_s)
    if options.only is not None:
        selection.restrict(options.only)
    gate.hold()  # until all handlers are there, and the supervisor knows that this process can work
    try:
        queue = load(options.target)
        queue._declare_at_start(options.target)
        queue.work()
        if queue.alert_rules() == AlertRules():
            queue.alert_rules(_alert_rules())
    except BaseException:
        gate.release()
        signals.close()
        raise
    signals.release_jobs = queue._release_all
    try:
        if wait_for_redis(queue, signals):
            _prepare(queue, options)
            if options.node_events:
                NodeEvents(queue.session, queue.subscribe).start()
            if is_supervised:
                end_if_stuck(max(STUCK_S, 2 * queue.lease_ms / 1000))
        idle_checks = 0
        while not signals.count and idle_checks < IDLE_CHECKS:
            _show_load(queue, options.target)
            green.sleep(LOOK_S)
            idle_checks = idle_checks + 1 if options.burst and _is_drained(queue) else 0
        log_shutdown(len(queue.running()), options.timeout_s)
        queue.quiet()
        give_up = time.monotonic() + options.timeout_s
        while queue.running() and signals.count < 2 and time.monotonic() < give_up:
            green.sleep(LOOK_S)
        left = len(queue.running())
    finally:
        queue.shutdown(0)  # it has reserved jobs since its first handler was registered
        gate.release()
        signals.ignore()
    log.info("Stopped; running jobs released: %d", left)
    return 0


def _alert_rules() -> AlertRules:
    """Return the alert rules of the environment, for a program that has set none. Raises SettingsError."""
    given = {name: text for name, text in os.environ.items() if name.startswith("KUE_ALERT_")}
    return replace(Settings.load(given).alert_rules, disk_free=None)  # it downloads nothing


def _show_load(queue: Queue, target: str) -> None:
    set_title(f"worker {target} [{len(queue.running())}/{sum(queue.processing().values())} busy]")


def _is_drained(queue: Queue) -> bool:
    """Return whether nothing runs in this process and no job of its types is waiting, paused types aside."""
    if queue.running():
        return False
    try:
        paused = queue.paused()
        aside = {each["type"] for each in queue.limits() if each["by"] and each["waiting"]}  # delayed, until their turn
        return all(
            name in paused or not (name in aside or queue.inactive_count(name)) for name in queue.processing()
        )
    except QueueUnavailable:
        return False


def _prepare(queue: Queue, options: WorkerOptions) -> None:
    """Apply the options that concern types, and report that the worker is ready."""
    if unknown := selection.unknown():
        names = ", ".join(plain(name) for name in selection.known()) or "no type"
        raise click.ClickException(
            f"--only: no handler for type {plain(', '.join(unknown))}; the module has handlers for {names}"
        )
    types = queue.processing()
    if not types:
        raise click.ClickException(
            f"{options.target} has no handlers; its module must declare a @queue.task() or call queue.process(…)"
        )
    for job_type, count in options.concurrency.items():
        if job_type not in types:
            names = ", ".join(plain(name) for name in types)
            raise click.ClickException(
                f"--concurrency: no handler for type {plain(job_type)}; the module has handlers for {names}"
            )
        queue.concurrency(job_type, count)
    slots = ", ".join(f"{plain(name)} ({count})" for name, count in queue.processing().items())
    ready = f"Ready: running {slots} of queue {queue.prefix}, pid {os.getpid()}"
    if is_json():  # what collects the lines may take those of stdout too
        log.info("%s", ready)
    elif not options.quiet:
        print(ready, flush=True)
    supervisor.tell_ready()
    gate.release()


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
            hint = f"; queues in it: {', '.join(queues)}" if queues else ""
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
